"""The canonical form of architectures: equal networks as equal rows, for whole populations at once."""

from collections.abc import Sequence

import numpy as np

from hwnas.deciding import Where
from lut.gather import Gather, Rows


class Canonical:
    """Makes choices that decide nothing the first one, dimension after dimension.

    Whether a dimension decides depends on the choices before it. Those that share no slot with one another do not
    depend on each other, so that they are looked at together: all kernels of all blocks, for instance.
    """

    def __init__(self, deciding: Sequence[Sequence[Where]]) -> None:
        """`deciding` has, for each dimension, the slots it takes part in."""
        levels: list[int] = []  # -1 where a dimension always decides: nothing is to be done, nothing depends on it
        for dim, slots in enumerate(deciding):
            before = {other for dims, _ in slots for other in dims if other < dim}
            always = any(where.all() for _, where in slots)
            levels.append(-1 if always else 1 + max((levels[other] for other in before), default=-1))
        self._levels = [
            _Level({dim: slots for dim, slots in enumerate(deciding) if levels[dim] == number}, len(levels))
            for number in range(max(levels) + 1)
        ]

    def __call__(self, population: Rows) -> Rows:
        """The canonical rows of n rows, (n, dims)."""
        rows = np.array(population, np.intp)
        for level in self._levels:
            level.clear(rows)
        return rows


class _Level:
    """Dimensions that share no slot."""

    def __init__(self, deciding: dict[int, Sequence[Where]], dims: int) -> None:
        self._idle = np.array([dim for dim, slots in deciding.items() if not slots], np.intp)
        self._dims = np.array([dim for dim, slots in deciding.items() if slots], np.intp)
        slots = [slot for slots in deciding.values() for slot in slots]
        self._gather = Gather(dims, slots)
        self._starts = np.cumsum([0, *(len(slots) for slots in deciding.values() if slots)])[:-1]

    def clear(self, rows: Rows) -> None:
        """Make the choices that decide nothing 0, in place."""
        rows[:, self._idle] = 0
        if len(self._dims):
            rows[:, self._dims] *= np.logical_or.reduceat(self._gather(rows), self._starts, axis=0).T
