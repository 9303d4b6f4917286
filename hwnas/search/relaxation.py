"""Lagrangian relaxation: the tightest bound on a problem's value that an additive function can give.

With multipliers λ >= 0 the relaxed value v(x) + Σ λ_i (limit_i - cost_i(x)) is a sum of tables, so its maximum over all
architectures is exact, and no feasible architecture has a larger value. The least such bound over all λ is that of the
linear relaxation of the integer program (Geoffrion 1974).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwnas.arch import Population
from hwnas.search.elimination import Elimination
from hwnas.search.problem import FORBIDDEN, Problem
from lut.compiled import Floats

CUTS = 100  # rounds in which the multipliers are improved, at most; one or two constraints take 5 to 30
STEEPEST = 1e4  # of multipliers, where the value and each cost are scaled by their spreads
ROUNDING = 1e-9  # of a spread: more than sums in another order differ by, less than any difference that matters


@dataclass(frozen=True)
class Relaxation:
    """No feasible architecture has a value above `bound`.

    `joined` are the eliminated sums of the relaxed value at `multipliers`, the best ones found. `met` (n, dims) are
    the architectures that were best for some multipliers; a few may be feasible.
    """

    bound: float
    multipliers: Floats
    joined: list[Floats]
    met: Population


def relax(problem: Problem, elimination: Elimination, start: Floats) -> Relaxation:
    """The least bound, by cutting planes (Kelley 1960), beginning with the multipliers `start`.

    Each maximiser's relaxed value is linear in λ; the next λ are where the highest of all these planes is lowest. There
    are finitely many, so that ends at the optimum; after CUTS of them it ends with a bound that holds as well.
    """
    unit = problem.spread(problem.value)
    per_unit = unit / np.array([problem.spread(cost) for cost in problem.costs])
    best = Relaxation(np.inf, start, [], np.empty((0, len(problem.sizes)), np.intp))
    rows, planes, multipliers = [], [], start
    for _ in range(CUTS):
        top, joined = elimination.maximum(_relaxed(problem, multipliers))
        rows.append(elimination.argmax(joined))
        bound = float(top + multipliers @ problem.limits)
        if bound < best.bound:
            best = Relaxation(bound, multipliers, joined, best.met)
        spare = problem.limits - [problem.total(cost, rows[-1]) for cost in problem.costs]
        planes.append([problem.total(problem.value, rows[-1]) / unit, *(spare * per_unit / unit)])
        height, scaled = _lowest(np.array(planes))
        if best.bound - height * unit <= ROUNDING * unit:
            break
        multipliers = scaled * per_unit
    return replace(best, met=np.unique(rows, axis=0))


def _lowest(planes: Floats) -> tuple[float, Floats]:
    """Where the highest of planes (n, 1 + slopes) is lowest, for slopes' factors between 0 and STEEPEST."""
    from scipy.optimize import linprog

    slopes = planes.shape[1] - 1
    found = linprog(
        np.eye(1 + slopes)[0],
        A_ub=np.column_stack([-np.ones(len(planes)), planes[:, 1:]]),
        b_ub=-planes[:, 0],
        bounds=[(None, None), *[(0, STEEPEST)] * slopes],
    )
    return float(found.fun), np.asarray(found.x[1:])


def _relaxed(problem: Problem, multipliers: Floats) -> Sequence[Floats]:
    tables = []
    for number, value in enumerate(problem.value):
        costs = sum(multiplier * cost[number] for multiplier, cost in zip(multipliers, problem.costs, strict=True))
        tables.append(np.where(value > FORBIDDEN, value - costs, FORBIDDEN))
    return tables
