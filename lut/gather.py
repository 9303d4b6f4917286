"""Tables over few dimensions each, side by side: what a whole population finds in all of them, in one gather."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


class Gather:
    """Tables, each over some dimensions: one axis a dimension.

    >>> gather = Gather(len(sizes), tables)
    >>> gather(rows)                        # (tables, n): every table's entry for each of n rows of choices
    """

    def __init__(self, dims: int, tables: Sequence[tuple[tuple[int, ...], NDArray[Any]]]) -> None:
        self.strides = np.zeros((len(tables), dims), np.float32)  # exact: places are far below 2**24
        for number, (of, table) in enumerate(tables):
            for axis, dim in enumerate(of):
                self.strides[number, dim] = math.prod(table.shape[axis + 1 :])
        self._offsets = np.cumsum([0, *(table.size for _, table in tables)])[:-1, None]
        self._flat = np.concatenate([table.ravel() for _, table in tables]) if tables else np.empty(0)

    def __call__(self, rows: Rows) -> NDArray[Any]:
        """All tables' entries for n rows, (tables, n)."""
        return self.entries(self.places(rows))

    def places(self, rows: Rows) -> Rows:
        """Where these entries are, (tables, n)."""
        # A product of matrices finds all places at once; in float32, because integers have no BLAS.
        return np.asarray((self.strides @ rows.T.astype(np.float32)).astype(np.intp) + self._offsets)

    def entries(self, places: Rows) -> NDArray[Any]:
        """What is in these places, in the same shape."""
        return np.asarray(self._flat[places])
