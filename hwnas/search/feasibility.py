"""Feasibility: an architecture within all constraints, or what each of them could come down to, and which ones bind."""

import numpy as np

from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.optimum import solve
from lut.compiled import Compiled, Rows
from profilers.errors import InfeasibleError

TOLERANCES = (1e-3, 1e-6)  # of a limit: how exact a least cost is; the second where the first leaves it open


def feasible_row(constraints: Constraints) -> Rows:
    """An architecture, (dims,), that meets all constraints, of which there is at least one.

    Raises InfeasibleError where none does, with proof: a constraint whose least value is above its limit, or a smallest
    set of constraints that exclude each other, and the least value of each where the others of the set are met.
    """
    alone = [constraint.cost.least() for constraint in constraints.all]
    for constraint, (least, _) in zip(constraints.all, alone, strict=True):
        if least > constraint.limit:
            others = [(c, value) for c, (value, _) in zip(constraints.all, alone, strict=True) if c is not constraint]
            raise InfeasibleError(_out_of_reach(constraint, least, others), least)
    for _, row in alone:
        if constraints.met(row[None])[0]:
            return row
    # Limits on the largest block come first, because all that they do is to forbid blocks.
    first, *rest = sorted(constraints.all, key=lambda constraint: not constraint.cost.most)
    met = [first]
    for constraint in rest:
        least, row = _least(constraint, met)
        if least > constraint.limit:
            least, needed = _needed(constraint, met, least)
            conflict = [constraint, *needed]
            leasts = [_least(c, [other for other in conflict if other is not c])[0] for c in needed]
            raise InfeasibleError(_excluding(conflict, [least, *leasts]), least)
        if constraints.met(row[None])[0]:
            break
        met.append(constraint)
    return row


def _least(constraint: Constraint, others: list[Constraint]) -> tuple[float, Rows]:
    """The least cost where others are met, which can be, and an architecture that attains it."""
    cost = constraint.cost
    if not cost.most:
        negative = Compiled(cost.sizes, [(dims, -table) for dims, table in cost.factors])
        for tolerance in TOLERANCES:
            found = solve(negative, Constraints(tuple(others)), tolerance=tolerance * abs(constraint.limit))
            if not -found.bound <= constraint.limit < -found.value:
                break
        if not len(found.near):  # the search for one is not finished after so many parts of the space
            asked = " and ".join(f"a {c.name} of at most {c.told(c.limit)}" for c in (constraint, *others))
            raise InfeasibleError(
                f"no architecture was found that has {asked}; allow more of one of them", -found.bound
            )
        return -found.value, found.row
    nothing = Compiled(cost.sizes, [((0,), np.zeros(cost.sizes[0]))])
    limits = np.unique(np.concatenate([table[np.isfinite(table)] for _, table in cost.factors]))
    low, high = 0, len(limits) - 1  # the least is one of limits[low], ..., limits[high]
    while True:
        middle = (low + high) // 2
        tried = Constraint(constraint.name, cost, float(limits[middle]))
        found = solve(nothing, Constraints((*others, tried)))
        if len(found.near) and low == high:
            return tried.limit, found.row
        low, high = (low, middle) if len(found.near) else (middle + 1, high)


def _needed(constraint: Constraint, others: list[Constraint], least: float) -> tuple[float, list[Constraint]]:
    """Those of the others that it takes to put a constraint out of reach, and its least cost where they are met."""
    needed = others
    for other in others:
        without = [kept for kept in needed if kept is not other]
        if without and (found := _least(constraint, without)[0]) > constraint.limit:
            least, needed = found, without
    return least, needed


def _out_of_reach(constraint: Constraint, least: float, others: list[tuple[Constraint, float]]) -> str:
    rest = ", ".join(f"{other.name} {other.told(value)}" for other, value in others)
    return (
        f"no architecture has a {constraint.name} of at most {constraint.told(constraint.limit)}: "
        f"the least attainable is {constraint.told(least)}; allow that much, or take a smaller space"
        + (f" (the least of the others: {rest})" if rest else "")
    )


def _excluding(conflict: list[Constraint], leasts: list[float]) -> str:
    asked = " and ".join(f"a {c.name} of at most {c.told(c.limit)}" for c in conflict)
    least = ", ".join(f"{c.name} {c.told(value)}" for c, value in zip(conflict, leasts, strict=True))
    return (
        f"no architecture has {asked}: where the others are met, the least attainable is {least}; "
        f"allow that much of one of them, or take a smaller space"
    )
