"""Compiled: a cost of architectures as tables over few choices each, so that one gather prices a whole population.

A cost may be infinite: of blocks that must not be used, because nobody knows their time. No limit is ever met by these.

A slot's block depends on few of a space's dimensions, so what it costs is a small table over these. An architecture's
cost is the sum of the entries its choices point at (latency, MACs, parameters, file size), or the largest of them (peak
activation memory).
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lut.blocks import Block
from lut.exchanges import Exchanges
from lut.gather import Gather

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Table = tuple[tuple[int, ...], Floats]
"""Dimensions, and a number for every combination of their choices: one axis a dimension."""

GRID_BITS = 36
JOINT_ENTRIES = 4096  # of a table that several slots share: 32 KiB, what a core's first cache holds
CHUNK_ROWS = 2048  # priced at a time, so that indices stay in the second cache


class Slot(Protocol):
    """A place in a network: its block for every combination of the dimensions it depends on, None where left out."""

    @property
    def dims(self) -> tuple[int, ...]:
        """The dimensions."""
        ...

    @property
    def blocks(self) -> NDArray[Any]:
        """Of Block | None; one axis for each of `dims`."""
        ...


class Space(Protocol):
    """What a cost is compiled for: how many choices each dimension has, and the slots."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Choices a dimension."""
        ...

    @property
    def factors(self) -> Sequence[Slot]:
        """The slots."""
        ...


def on_grid(values: Any) -> Any:
    """Values rounded to multiples of 2**-36: sums of these below 131,072 are exact, so no order of adding matters.

    In ms that is 15 attoseconds: nothing that was ever measured.
    """
    return np.ldexp(np.rint(np.ldexp(values, GRID_BITS)), -GRID_BITS)


class Compiled:
    """A cost as tables over a space's dimensions; priced for populations at once, its least value found exactly.

    >>> macs = Compiled.of(space, lambda block: block.macs)
    >>> macs(population)                                        # an array, one gather
    >>> least, row = macs.least()                               # exact, over the whole space
    """

    def __init__(self, sizes: tuple[int, ...], factors: Sequence[Table], *, most: bool = False) -> None:
        self.sizes, self.most = sizes, most
        self.factors = tuple((dims, np.asarray(on_grid(table), np.float64)) for dims, table in factors)
        self._join = np.maximum if most else np.add
        self._tables = self._joint()
        self._gather = Gather(len(sizes), self._tables)

    @classmethod
    def of(
        cls, space: Space, cost: Callable[[Block], float], *, constant: float = 0.0, most: bool = False
    ) -> "Compiled":
        """What an architecture's blocks cost, summed, and a constant; with `most`, what the dearest of them costs."""
        costs: dict[Block | None, float] = {None: 0.0}
        for block in dict.fromkeys(b for slot in space.factors for b in slot.blocks.flat if b is not None):
            costs[block] = cost(block)
        tables: list[Table] = [
            (slot.dims, np.array([costs[block] for block in slot.blocks.flat]).reshape(slot.blocks.shape))
            for slot in space.factors
        ]
        return cls(space.sizes, [((), np.array(constant)), *tables] if constant else tables, most=most)

    def __call__(self, population: Rows) -> Floats:
        """Costs of n architectures, rows (n, dims) of choices, as (n,)."""
        costs = np.empty(len(population))
        for first in range(0, len(population), CHUNK_ROWS):
            entries = self._gather(population[first : first + CHUNK_ROWS])
            costs[first : first + CHUNK_ROWS] = self._join.reduce(entries, axis=0)
        return costs

    def exchanged(self, population: Rows) -> Floats:
        """What each single exchange of a choice adds to n architectures' costs, (n, choices of all dimensions).

        0 for choices as they are. Of a cost that is the largest entry, only what it adds: what it saves depends on
        all others.
        """
        if self.most:
            return np.maximum(self._exchanges.largest(population) - self(population)[:, None], 0)
        return self._exchanges(population)

    @cached_property
    def _exchanges(self) -> Exchanges:
        return Exchanges(self.sizes, self._tables)

    def least(self) -> tuple[float, Rows]:
        """The least attainable cost and a row of choices that attains it, by variable elimination.

        A dimension is minimised out of the join of the tables it takes part in, the cheapest first (Dechter 1999,
        bucket elimination). Exact, and independent of order.
        """
        tables = list(self.factors)
        remaining, steps = set(range(len(self.sizes))), []
        while remaining:
            dim = min(remaining, key=lambda d: (self._joined_size([t for t in tables if d in t[0]]), d))
            dims, joined = self._joined([t for t in tables if dim in t[0]], last=dim)
            steps.append((dim, dims[:-1], joined.argmin(axis=-1)))
            tables = [t for t in tables if dim not in t[0]] + [(dims[:-1], joined.min(axis=-1))]
            remaining.remove(dim)
        row = np.zeros(len(self.sizes), np.intp)
        for dim, dims, best in reversed(steps):
            row[dim] = best[tuple(row[list(dims)])]
        return float(self(row[None])[0]), row

    def greatest(self) -> float:
        """The greatest cost there is; of the dearest blocks, where they are never left out. Infinite ones are none."""
        if self.most:
            return max(float(table[np.isfinite(table)].max(initial=-np.inf)) for _, table in self.factors)
        negative: list[Table] = [(dims, np.where(np.isinf(table), table, -table)) for dims, table in self.factors]
        return -Compiled(self.sizes, negative).least()[0]

    def scaled(self, by: float) -> "Compiled":
        """The cost times a factor above 0."""
        return Compiled(self.sizes, [(dims, table * by) for dims, table in self.factors], most=self.most)

    def plus(self, other: "Compiled") -> "Compiled":
        """The sum of two costs that are sums."""
        return Compiled(self.sizes, [*self.factors, *other.factors])

    def only(self, available: "Compiled") -> "Compiled":
        """The same cost, but infinite where `available`, which is 0 or infinite, is: no limit ever allows that."""
        return Compiled(self.sizes, [*self.factors, *available.factors], most=self.most)

    def _joint(self) -> list[Table]:
        """The factors in as few tables as stay small: fewer gathers for each architecture."""
        tables: list[Table] = []
        for factor in sorted(self.factors, key=lambda factor: (factor[0], factor[1].size)):
            fitting = [t for t in tables if self._joined_size([t, factor]) <= JOINT_ENTRIES]
            joined = min(fitting, key=lambda t: self._joined_size([t, factor]), default=None)
            tables = [t for t in tables if t is not joined]
            tables.append(self._joined([factor] if joined is None else [joined, factor]))
        return tables

    def _joined_size(self, tables: Sequence[Table]) -> int:
        return math.prod(self.sizes[dim] for dim in {dim for dims, _ in tables for dim in dims})

    def _joined(self, tables: Sequence[Table], last: int | None = None) -> Table:
        """One table for several, over the union of their dimensions, with `last` behind all others."""
        union = tuple(sorted({dim for dims, _ in tables for dim in dims}, key=lambda dim: (dim == last, dim)))
        joined = np.full([self.sizes[dim] for dim in union], self._join.identity if not self.most else -np.inf)
        for dims, table in tables:
            order = sorted(range(len(dims)), key=lambda axis: union.index(dims[axis]))
            shape = [self.sizes[dim] if dim in dims else 1 for dim in union]
            joined = self._join(joined, table.transpose(order).reshape(shape))
        return union, joined
