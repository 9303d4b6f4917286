"""Elimination: the exact maximum of a sum of tables over few dimensions each, and what every choice loses against it.

A dimension is maximised out of the sum of the tables it takes part in, the cheapest first (Dechter 1999, bucket
elimination). The order depends on the tables' dimensions alone, so one plan serves all tables over the same ones.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lut.compiled import Floats, Rows

Scope = tuple[int, ...]
"""The dimensions of a table, ascending: one axis each."""


@dataclass(frozen=True)
class Bucket:
    """A dimension that is maximised out (the last of `dims`), and the tables it is in: number, order of axes, shape."""

    dims: tuple[int, ...]
    members: tuple[tuple[int, list[int], list[int]], ...]


class Elimination:
    """Maximises sums of tables over `scopes`, in a space of dimensions with `sizes` choices.

    >>> best, joined = elimination.maximum(tables)              # exact, over all rows of choices
    >>> row = elimination.argmax(joined)
    """

    def __init__(self, sizes: Sequence[int], scopes: Sequence[Scope]) -> None:
        self._sizes = sizes
        live: dict[int, Scope] = dict(enumerate(scopes))
        remaining = {dim for scope in scopes for dim in scope}
        buckets: list[Bucket] = []
        while remaining:
            dim = min(remaining, key=lambda d: (self._entries(s for s in live.values() if d in s), d))
            members = [number for number, scope in live.items() if dim in scope]
            others = tuple(sorted({d for number in members for d in live[number]} - {dim}))
            dims = (*others, dim)
            buckets.append(Bucket(dims, tuple((number, *self._layout(live[number], dims)) for number in members)))
            live = {number: scope for number, scope in live.items() if number not in members}
            live[len(scopes) + len(buckets) - 1] = others
            remaining.remove(dim)
        self.buckets = tuple(buckets)
        self._left = tuple(live)  # tables without a dimension: their sum is the maximum

    def maximum(self, tables: Sequence[Floats]) -> tuple[float, list[Floats]]:
        """The maximum over all rows, and for each bucket the sum from which its last axis is maximised out."""
        left, joined = list(tables), []
        for bucket in self.buckets:
            joint = np.zeros([self._sizes[dim] for dim in bucket.dims])
            for number, order, shape in bucket.members:
                joint += left[number].transpose(order).reshape(shape)
            joined.append(joint)
            left.append(joint.max(axis=-1))
        return float(sum(left[number] for number in self._left)), joined

    def argmax(self, joined: Sequence[Floats]) -> Rows:
        """The row, (dims,), that attains the maximum; 0 in dimensions that no table has."""
        row = np.zeros(len(self._sizes), np.intp)
        for bucket, joint in zip(reversed(self.buckets), reversed(joined), strict=True):
            *others, dim = bucket.dims
            row[dim] = joint[tuple(row[others])].argmax()
        return row

    def _entries(self, scopes: Iterable[Scope]) -> int:
        return math.prod(self._sizes[dim] for dim in {dim for scope in scopes for dim in scope})

    def _layout(self, scope: Scope, dims: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """How a table's axes are ordered and shaped to be added to one over `dims`."""
        order = sorted(range(len(scope)), key=lambda axis: dims.index(scope[axis]))
        return order, [self._sizes[dim] if dim in scope else 1 for dim in dims]
