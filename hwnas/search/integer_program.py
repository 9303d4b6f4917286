"""A problem as an integer program, solved by HiGHS: the referee of `optimum`, and what goes on where that gives up.

One binary variable for each choice of each dimension; one variable between 0 and 1 for each entry of each table, which
sums to the choices' variables along every axis (the local marginal polytope, Wainwright & Jordan 2008). Where the
tables hang together like a tree its corners are integer, so only the constraints need branching.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwnas.arch import Population
from hwnas.search.problem import FORBIDDEN, Problem
from lut.compiled import Floats

SPREAD = 1e4  # the value's: HiGHS is content with a gap of 1e-6, which is to mean nothing
TOLERANCE = 2e-6  # by which HiGHS may exceed a limit, in spreads of the cost


@dataclass(frozen=True)
class Program:
    """What each variable adds to value and costs (choices first, then entries), and ties between them."""

    value: Floats
    costs: Floats  # (costs, variables)
    ties: Any  # sparse, (ties, variables): a dimension's choices sum to 1, the others to 0
    choices: int


def solve(problem: Problem, time_limit_s: float) -> tuple[Population, float]:
    """The best architecture found in time, (1, dims), or none, (0, dims), and a bound on the value of all.

    The bound is -inf where there is proof that none is feasible. HiGHS works with tolerances: an architecture that
    exceeds a limit by less than these is sought again, a little below the limit.
    """
    program = _program(problem)
    row, bound = _highs(problem, program, problem.limits, time_limit_s)
    costs = [[problem.total(cost, r) for cost in problem.costs] for r in row]
    if len(row) and (np.array(costs[0]) > problem.limits).any():
        spreads = np.array([problem.spread(cost) for cost in problem.costs])
        row, _ = _highs(problem, program, problem.limits - TOLERANCE * spreads, time_limit_s)
    return row, bound


def _highs(problem: Problem, program: Program, limits: Floats, time_limit_s: float) -> tuple[Population, float]:
    from scipy.optimize import Bounds, LinearConstraint, milp

    scale = SPREAD / problem.spread(problem.value)
    spreads = np.array([problem.spread(cost) for cost in problem.costs])
    sums = np.arange(program.ties.shape[0]) < len(problem.sizes)
    constraints = [LinearConstraint(program.ties, sums, sums)]
    if len(limits):
        constraints.append(LinearConstraint(program.costs / spreads[:, None], ub=limits / spreads))
    found = milp(
        -scale * program.value,
        integrality=np.arange(len(program.value)) < program.choices,
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
    )
    none = np.empty((0, len(problem.sizes)), np.intp)
    if found.status == 2:  # infeasible
        return none, -np.inf
    bound = np.inf if found.mip_dual_bound is None else -found.mip_dual_bound / scale
    if found.x is None:
        return none, bound
    first = np.cumsum([0, *problem.sizes])
    chosen = [found.x[a:b].argmax() for a, b in itertools.pairwise(first)]
    return np.array([chosen], np.intp), bound


def _program(problem: Problem) -> Program:
    from scipy.sparse import coo_array

    first = np.cumsum([0, *problem.sizes])
    choices = [first[dim] + np.arange(size) for dim, size in enumerate(problem.sizes)]
    ties = [(np.full(size, dim), choices[dim], np.ones(size)) for dim, size in enumerate(problem.sizes)]
    columns = [[np.zeros(first[-1])] for _ in (problem.value, *problem.costs)]
    height, variables = len(problem.sizes), int(first[-1])
    for number, (scope, table) in enumerate(zip(problem.scopes, problem.value, strict=True)):
        allowed = np.nonzero(table > FORBIDDEN)
        entries = variables + np.arange(len(allowed[0]))
        for dim, choice in zip(scope, allowed, strict=True):
            ties.append((height + choice, entries, np.ones(len(entries))))
            ties.append((height + choices[dim] - first[dim], choices[dim], -np.ones(len(choices[dim]))))
            height += len(choices[dim])
        for parts, tables in zip(columns, (problem.value, *problem.costs), strict=True):
            parts.append(tables[number][allowed])
        variables += len(entries)
    value, *costs = (np.concatenate(parts) for parts in columns)
    tie, variable, coefficient = (np.concatenate(parts) for parts in zip(*ties, strict=True))
    tied = coo_array((coefficient, (tie, variable)), (height, variables)).tocsr()
    return Program(value, np.array(costs).reshape(-1, variables), tied, int(first[-1]))
