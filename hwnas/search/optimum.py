"""The certified optimum of an additive value under constraints: a bound, then everything that could come up to it.

What an architecture loses against the relaxed bound is a sum over its choices: those that lose no more than the best
feasible one known are listed, choice by choice. Where the list grows too long, the most promising are followed, and the
certificate says what the others could still be worth.
"""

from dataclasses import dataclass

import numpy as np

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.search.elimination import Elimination
from hwnas.search.problem import FORBIDDEN, Problem
from hwnas.search.relaxation import ROUNDING, Relaxation, relax
from lut.compiled import Compiled, Floats, Rows

WIDTHS = (300, 3_000)  # how many beginnings of architectures are followed at once, first and if that leaves a gap
PARTS = 100  # parts of the space that are looked at


@dataclass(frozen=True)
class Optimum:
    """The best architecture found, and what is certain of all others.

    `near` (n, dims) are feasible architectures that were looked at, best first, none twice; `values` (n,) are theirs.
    No feasible architecture has a value above `bound`; it is -inf where there is proof that none is feasible.
    """

    near: Population
    values: Floats
    bound: float

    @property
    def row(self) -> Rows:
        """The best architecture, (dims,)."""
        return np.asarray(self.near[0])

    @property
    def value(self) -> float:
        """The best value; -inf where nothing feasible was found."""
        return float(self.values[0]) if len(self.values) else -np.inf

    @property
    def gap(self) -> float:
        """By how much another architecture may be better, at most; 0 where the optimum is certain."""
        return self.bound - self.value if self.bound > self.value else 0.0


def solve(value: Compiled, constraints: Constraints, *, tolerance: float = 0.0) -> Optimum:
    """The architecture of largest `value` (a sum over blocks) that meets all `constraints`, with its certificate.

    Branch and bound: the most promising part of the space is relaxed and followed; where that leaves a gap of more than
    `tolerance`, it is parted by the choices of the dimension that most tables share. After PARTS of them what is found
    is returned with its gap: so it was with values that differ by as little as one can ask, in millions of ways.
    """
    problem = Problem.of(value, constraints)
    elimination = Elimination(value.sizes, problem.scopes)
    found = _Found(value, constraints)
    parts = [_Part(np.inf, problem, np.zeros(len(problem.costs)), ())]
    for _ in range(PARTS):
        if not parts:
            break
        part = parts.pop(max(range(len(parts)), key=lambda number: parts[number].bound))
        parts += _parted(part, elimination, found, tolerance)
        parts = [part for part in parts if part.bound > found.best + tolerance]
    return found.optimum(max((part.bound for part in parts), default=found.best + tolerance))


@dataclass(frozen=True)
class _Part:
    """The part of a space in which the dimensions `fixed` are; none of its architectures is worth more than `bound`."""

    bound: float
    problem: Problem
    multipliers: Floats
    fixed: tuple[int, ...]


class _Found:
    """The feasible architectures met so far."""

    def __init__(self, value: Compiled, constraints: Constraints) -> None:
        self._value, self._constraints = value, constraints
        self._rows = [np.empty((0, len(value.sizes)), np.intp)]
        self.best = -np.inf

    def take(self, rows: Population) -> None:
        """Keep those that are feasible."""
        feasible = rows[self._constraints.met(rows)]
        self._rows.append(feasible)
        self.best = float(self._value(feasible).max(initial=self.best))

    def optimum(self, bound: float) -> Optimum:
        """All of them, best first, where others are worth at most `bound`."""
        near = np.unique(np.concatenate(self._rows), axis=0)
        values = self._value(near)
        order = np.argsort(-values, kind="stable")
        return Optimum(near[order], values[order], max(bound, self.best))


def _parted(part: _Part, elimination: Elimination, found: _Found, tolerance: float) -> list[_Part]:
    """What is left to be looked at in a part of the space: nothing, if it holds no better one than those found."""
    problem = part.problem
    if elimination.maximum(problem.value)[0] <= FORBIDDEN / 2:
        return []
    relaxation = relax(problem, elimination, part.multipliers)
    found.take(relaxation.met)
    bound = min(part.bound, relaxation.bound)
    for width in WIDTHS:
        if bound <= found.best + tolerance:
            return []
        rows, missed = _follow(problem, elimination, relaxation, found.best + tolerance, width)
        found.take(rows)
        bound = min(bound, max(missed, found.best + tolerance))
    free = [dim for dim in range(len(problem.sizes)) if dim not in part.fixed]
    if bound <= found.best + tolerance or not free:
        return []
    dim = max(free, key=lambda d: sum(d in scope for scope in problem.scopes))
    return [
        _Part(bound, problem.fixed(dim, choice), relaxation.multipliers, (*part.fixed, dim))
        for choice in range(problem.sizes[dim])
    ]


def _follow(
    problem: Problem, elimination: Elimination, relaxation: Relaxation, least: float, width: int
) -> tuple[Population, float]:
    """Rows that may be feasible and worth at least `least`; and what any row that is missing is worth at most.

    Dimensions are decided in the reverse order of elimination. So it is known what the decisions so far lose at least,
    and what each cost comes to at least, whatever the others will be; both are exact, no partial row is a dead end.
    """
    margin = ROUNDING * problem.spread(problem.value)
    worst = relaxation.bound - least + margin
    measures = [(0.0, relaxation.joined)]
    for cost, limit in zip(problem.costs, problem.limits, strict=True):
        top, joined = elimination.maximum([-table for table in cost])
        measures.append((-top - limit - ROUNDING * problem.spread(cost), joined))
    rows = np.zeros((1, len(problem.sizes)), np.int16)
    # First what the rows lose, then by how much they exceed each limit at least.
    losses = np.array([[start] for start, _ in measures])
    missed = np.inf
    for number, bucket in reversed(list(enumerate(elimination.buckets))):
        *others, dim = bucket.dims
        at = tuple(rows[:, other] for other in others)
        added = [joined[number].max(axis=-1, keepdims=True) - joined[number] for _, joined in measures]
        following = losses[:, :, None] + np.array(
            [np.broadcast_to(a[at], (len(rows), problem.sizes[dim])) for a in added]
        )
        who, choice = np.nonzero((following[0] <= worst) & (following[1:] <= 0).all(axis=0))
        lost = following[0, who, choice]
        if len(who) > width:
            order = np.argsort(lost, kind="stable")
            missed = min(missed, float(lost[order[width]]))
            who, choice = who[order[:width]], choice[order[:width]]
        rows, losses = rows[who], following[:, who, choice]
        rows[:, dim] = choice
    return rows.astype(np.intp), relaxation.bound - missed + margin
