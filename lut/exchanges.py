"""What single exchanges change: one choice of an architecture replaced by another, all of them at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lut.gather import Floats, Gather, Rows


class Exchanges:
    """Tables over dimensions, and what each exchange changes of their entries.

    >>> exchanges = Exchanges(sizes, tables)
    >>> exchanges(rows)                     # (n, choices of all dimensions): of the sum of all tables' entries
    """

    def __init__(self, sizes: Sequence[int], tables: Sequence[tuple[tuple[int, ...], NDArray[Any]]]) -> None:
        self._gather = Gather(len(sizes), [(dims, table.astype(np.float64)) for dims, table in tables])
        first = np.cumsum([0, *sizes])
        self._width = int(first[-1])
        felt = [  # of all exchanges that a table feels: column, table, dimension, choice
            (first[dim] + choice, number, dim, choice)
            for number, (dims, _) in enumerate(tables)
            for dim in dims
            for choice in range(sizes[dim])
        ]
        column, self._table, self._dim, self._choice = np.array(sorted(felt), np.intp).reshape(-1, 4).T
        self._columns, self._begins = np.unique(column, return_index=True)
        self._steps = self._gather.strides[self._table, self._dim].astype(np.intp)

    def __call__(self, population: Rows, weights: Floats | None = None) -> Floats:
        """What the sum of all entries, weighted by (n, tables), would gain, (n, choices); 0 for choices as they are."""
        now, then = self._entries(population)
        changes = then - now[self._table]
        if weights is not None:
            changes *= weights.T[self._table]
        return self._gathered(np.add.reduceat(changes, self._begins, axis=0), len(population))

    def largest(self, population: Rows) -> Floats:
        """The largest entry among the tables that an exchange concerns, as it would be then, (n, choices)."""
        _, then = self._entries(population)
        return self._gathered(np.maximum.reduceat(then, self._begins, axis=0), len(population))

    def _entries(self, population: Rows) -> tuple[Floats, Floats]:
        """All tables' entries now, (tables, n), and for each exchange that a table feels the one then."""
        places = self._gather.places(population)
        moved = (self._choice[:, None] - population.T[self._dim]) * self._steps[:, None]
        return self._gather.entries(places), self._gather.entries(places[self._table] + moved)

    def _gathered(self, changes: Floats, count: int) -> Floats:
        found = np.zeros((count, self._width))
        found[:, self._columns] = changes.T
        return found
