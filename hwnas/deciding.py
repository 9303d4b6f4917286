"""Which choices decide anything: those of a block that a stage's depth leaves out do not."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lut.gather import Gather, Rows

Bools = NDArray[np.bool_]
Where = tuple[tuple[int, ...], Bools]
"""Dimensions, and whether a choice decides anything for every combination of theirs."""


class Deciding:
    """For each dimension, whether its choice makes a difference to any slot; whole populations at once.

    >>> deciding = Deciding([[(factor.dims, where), ...], ...])     # for each dimension, the slots it takes part in
    >>> deciding(population)                                        # (n, dims)
    """

    def __init__(self, sizes: Sequence[int], slots: Sequence[Sequence[Where]]) -> None:
        self.tables = [
            _joined(sizes, [_reduced(where, dims, dim) for dims, where in of]) for dim, of in enumerate(slots)
        ]
        self._gather = Gather(len(sizes), self.tables)

    def __call__(self, population: Rows) -> Bools:
        """Which choices of n architectures decide something, (n, dims)."""
        return np.asarray(self._gather(population).T)


def _reduced(where: Bools, dims: tuple[int, ...], dim: int) -> Where:
    """The same over as few dimensions as it depends on; `dim` itself is none of them."""
    idle = [axis for axis in range(where.ndim) if dims[axis] == dim or (where == where.take([0], axis)).all()]
    left = tuple(other for axis, other in enumerate(dims) if axis not in idle)
    return left, np.asarray(where[tuple(0 if axis in idle else slice(None) for axis in range(where.ndim))])


def _joined(sizes: Sequence[int], found: Sequence[Where]) -> Where:
    """Where any of these decides, over all their dimensions."""
    if any(not dims and where for dims, where in found):
        return (), np.ones((), bool)  # it always does
    union = tuple(sorted({other for dims, _ in found for other in dims}))
    joined = np.zeros([sizes[other] for other in union], bool)
    for dims, where in found:
        joined |= np.expand_dims(where, [axis for axis, other in enumerate(union) if other not in dims])
    return union, joined
