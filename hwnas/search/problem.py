"""A Problem: a value to be made as large as the constraints let it, all of them as tables over the same dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwnas.search.constraints import Constraints
from hwnas.search.elimination import Scope
from lut.compiled import Compiled, Floats, Rows

Mask = NDArray[np.bool_]
FORBIDDEN = -1e30  # beyond any value; infinities would turn into NaN where two of them meet


@dataclass(frozen=True)
class Problem:
    """Maximise the sum of `value` where the sum of each of `costs` is at most its limit.

    One table for each of `scopes`. Entries that no architecture may use, or needs, are FORBIDDEN in `value` and,
    with the opposite sign, in `costs`: those of a block that is too much for a constraint on the largest one or has an
    infinite cost, and the twins of a dimension's first choice where it decides nothing.
    """

    sizes: tuple[int, ...]
    scopes: tuple[Scope, ...]
    value: tuple[Floats, ...]
    costs: tuple[tuple[Floats, ...], ...]
    limits: Floats  # (costs,)

    @classmethod
    def of(cls, value: Compiled, constraints: Constraints) -> "Problem":
        """The problem of making an additive `value` as large as `constraints` let it."""
        summed = [constraint for constraint in constraints.all if not constraint.cost.most]
        largest = [constraint for constraint in constraints.all if constraint.cost.most]
        every = [value, *(constraint.cost for constraint in constraints.all)]
        scopes = tuple(sorted({_scope(dims) for cost in every for dims, _ in cost.factors}))
        tables = [_over(scopes, cost) for cost in (value, *(constraint.cost for constraint in summed))]
        too_much = [~np.isfinite(np.sum(each, axis=0)) for each in zip(*tables, strict=True)]  # must not be used
        for constraint in largest:
            for dims, table in constraint.cost.factors:
                entries = _ascending(dims, table)
                too_much[scopes.index(_scope(dims))] |= (entries > constraint.limit) | np.isinf(entries)
        values, *costs = (_with(too_much, cost, FORBIDDEN if k == 0 else -FORBIDDEN) for k, cost in enumerate(tables))
        twins = [_twins(number, scopes, [values, *costs]) for number in range(len(scopes))]
        return cls(
            sizes=value.sizes,
            scopes=scopes,
            value=_with(twins, values, FORBIDDEN),
            costs=tuple(_with(twins, cost, -FORBIDDEN) for cost in costs),
            limits=np.array([constraint.limit for constraint in summed], np.float64),
        )

    def total(self, tables: Sequence[Floats], row: Rows) -> float:
        """The sum of one row's entries."""
        return float(sum(table[tuple(row[list(scope)])] for scope, table in zip(self.scopes, tables, strict=True)))

    def spread(self, tables: Sequence[Floats]) -> float:
        """How far apart two rows can be at most; never 0."""
        allowed = (table[value > FORBIDDEN] for table, value in zip(tables, self.value, strict=True))
        return float(sum(np.ptp(entries) for entries in allowed)) or 1.0

    def fixed(self, dim: int, choice: int) -> "Problem":
        """The problem of the architectures that take one choice in one dimension."""
        others = [np.zeros(table.shape, bool) for table in self.value]
        for number, scope in enumerate(self.scopes):
            if dim in scope:
                np.moveaxis(others[number], scope.index(dim), 0)[np.arange(self.sizes[dim]) != choice] = True
        costs = tuple(_with(others, cost, -FORBIDDEN) for cost in self.costs)
        return replace(self, value=_with(others, self.value, FORBIDDEN), costs=costs)


def _scope(dims: Scope) -> Scope:
    """The dimensions of the table that takes this one in; a constant goes to the first dimension's."""
    return tuple(sorted(dims)) or (0,)


def _ascending(dims: Scope, table: Floats) -> Floats:
    return table.transpose(sorted(range(len(dims)), key=dims.__getitem__))


def _over(scopes: Sequence[Scope], cost: Compiled) -> list[Floats]:
    """The cost's tables summed into one for each scope."""
    tables = [np.zeros([cost.sizes[dim] for dim in scope]) for scope in scopes]
    for dims, table in cost.factors:
        tables[scopes.index(_scope(dims))] += _ascending(dims, table)
    return tables


def _twins(number: int, scopes: Sequence[Scope], every: Sequence[Sequence[Floats]]) -> Mask:
    """Where in a scope a choice is the same as the first one to value and costs; of dimensions no other scope has."""
    twins = np.zeros(every[0][number].shape, bool)
    for axis, dim in enumerate(scopes[number]):
        if sum(dim in scope for scope in scopes) == 1:
            same = np.ones(twins.shape, bool)
            for tables in every:
                same &= tables[number] == np.take(tables[number], [0], axis)
            np.moveaxis(same, axis, 0)[0] = False
            twins |= same
    return twins


def _with(where: Sequence[Mask], tables: Sequence[Floats], value: float) -> tuple[Floats, ...]:
    return tuple(np.where(mask, value, table) for mask, table in zip(where, tables, strict=True))
