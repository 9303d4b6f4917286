"""NSGA-II (Deb et al. 2002): the front of accuracy against the first constraint's cost, up to its limit.

The other constraints are hard, as everywhere. Parents are those that fewest others beat in both accuracy and cost;
where not all of a rank can stay, those stay that are far from their neighbours.
"""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.search.proposals import Proposals
from hwnas.space import SearchSpace
from lut.compiled import Floats

POPULATION = 200
MUTATIONS = 1.5  # choices changed a child, on average


class Nsga2:
    """Proposes a population spread over all costs first, then children of the parents that are left."""

    def __init__(self, space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> None:
        self._space, self._constraints, self._rng = space, constraints, rng
        self._proposals = Proposals(space, constraints, rng)
        self._parents = np.empty((0, len(space.dimensions)), np.intp)
        self._goals = np.empty((0, 2))  # accuracy lacking and cost: both to be small
        self._rank, self._apart = np.empty(0, np.intp), np.empty(0)

    def ask(self) -> Population:
        """The next generation."""
        if not len(self._parents):
            # Each candidate leans towards small or large choices: uniform ones would crowd in the middle of the costs.
            leaning = 2.0 ** self._rng.uniform(-3, 3, (POPULATION, 1))
            drawn = self._rng.random((POPULATION, len(self._space.sizes))) ** leaning
            return self._proposals.fresh((drawn * self._space.sizes).astype(np.intp))
        mothers, fathers = self._tournament(), self._tournament()
        mixed = np.where(self._rng.random(mothers.shape) < 0.5, mothers, fathers)
        changed = self._rng.random(mixed.shape) < MUTATIONS / mixed.shape[1]
        children = np.where(changed, self._rng.integers(0, self._space.sizes, mixed.shape), mixed)
        found = self._proposals.fresh(children, mothers)
        return found if len(found) else self._proposals.others()

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Keep the parents of the next generation."""
        self._proposals.remember(population, accuracies)
        rows = np.concatenate([self._parents, population])
        costs = self._constraints.all[0].cost(population) if self._constraints.all else np.zeros(len(population))
        goals = np.concatenate([self._goals, np.column_stack([-accuracies, costs])])
        rank, apart = ranked(goals)
        stay = np.lexsort((-apart, rank))[:POPULATION]
        self._parents, self._goals, self._rank, self._apart = rows[stay], goals[stay], rank[stay], apart[stay]

    def _tournament(self) -> Population:
        """Of two parents the one of lower rank, or farther from its neighbours; a whole generation of winners."""
        pairs = self._rng.integers(len(self._parents), size=(POPULATION, 2))
        order = np.empty(len(self._parents), np.intp)
        order[np.lexsort((-self._apart, self._rank))] = np.arange(len(self._parents))
        return np.asarray(self._parents[pairs[np.arange(POPULATION), order[pairs].argmin(axis=1)]])


def ranked(goals: Floats) -> tuple[NDArray[np.intp], Floats]:
    """For (n, 2) goals that are to be small: the rank, 0 for those that nothing beats, and the crowding distance.

    In the order of the first goal a point is beaten by those of a rank if the last of them, which has their smallest
    second goal, is no larger there. So one pass with bisection sorts two goals (Jensen 2003, section III.A).
    """
    rank, apart = np.zeros(len(goals), np.intp), np.zeros(len(goals))
    last: list[float] = []  # the second goal of the last point of each rank; ascending
    before, level = None, 0
    for number in np.lexsort((goals[:, 1], goals[:, 0])):
        first, second = goals[number].tolist()
        if (first, second) != before:
            level = bisect_right(last, second)
            last[level : level + 1] = [second]
        rank[number], before = level, (first, second)
    for level in range(len(last)):
        front = np.flatnonzero(rank == level)
        apart[front] = _crowding(goals[front])
    return rank, apart


def _crowding(goals: Floats) -> Floats:
    """How far each of a front is from its two neighbours, in ranges of the front; the ends are farthest."""
    apart = np.zeros(len(goals))
    for goal in goals.T:
        order = np.argsort(goal, kind="stable")
        ends = goal[order]
        apart[order[[0, -1]]] = np.inf
        apart[order[1:-1]] += (ends[2:] - ends[:-2]) / ((ends[-1] - ends[0]) or 1.0)
    return apart


def build(space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> Nsga2:
    """NSGA-II over the architectures of `space` that meet `constraints`."""
    return Nsga2(space, constraints, rng)
