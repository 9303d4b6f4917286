"""Evolution under a hard constraint (SPOS, Guo et al. 2020, algorithm 1; once-for-all, Cai et al. 2020, section 3.3).

Each generation keeps the best as parents and proposes mutations and crossovers of them, and single exchanges of the
best one, all repaired to meet the constraint. Nothing is proposed twice.
"""

import numpy as np

from hwnas.arch import Population
from hwnas.pricing import Floats
from hwnas.search.constraints import Constraint
from hwnas.search.proposals import Proposals
from hwnas.space import SearchSpace

POPULATION = 100
PARENTS = 25
MUTATION_RATE = 0.1  # of each choice, as in both papers


class Evolution:
    """Proposes a random population first, then children of the best."""

    def __init__(self, space: SearchSpace, constraint: Constraint, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng
        self._proposals = Proposals(space, constraint, rng)
        self._parents = np.empty((0, len(space.dimensions)), np.intp)  # best first
        self._accuracies = np.empty(0)

    def ask(self) -> Population:
        """The next generation."""
        if not len(self._parents):
            return self._proposals.fresh(self._space.sample(POPULATION, self._rng))
        children = [self._mutations(POPULATION // 2), self._crossovers(POPULATION // 2), self._exchanges()]
        found = self._proposals.fresh(np.concatenate(children))
        # A tight budget leaves few architectures: the children of those few are soon known, others may not be.
        return found if len(found) else self._proposals.fresh(self._space.sample(10 * POPULATION, self._rng))

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Keep the best of all that was scored as parents."""
        self._proposals.remember(population)
        rows = np.concatenate([self._parents, population])
        scores = np.concatenate([self._accuracies, accuracies])
        best = np.argsort(-scores, kind="stable")[:PARENTS]
        self._parents, self._accuracies = rows[best], scores[best]

    def _mutations(self, count: int) -> Population:
        parents = self._parents[self._rng.integers(len(self._parents), size=count)]
        changed = self._rng.random(parents.shape) < MUTATION_RATE
        return np.where(changed, self._rng.integers(0, self._space.sizes, parents.shape), parents)

    def _crossovers(self, count: int) -> Population:
        mothers, fathers = self._parents[self._rng.integers(len(self._parents), size=(2, count))]
        return np.asarray(np.where(self._rng.random(mothers.shape) < 0.5, mothers, fathers))

    def _exchanges(self) -> Population:
        """The best architecture with one choice replaced, for every choice there is."""
        best = self._parents[0]
        rows = []
        for dim, size in enumerate(self._space.sizes):
            block = np.tile(best, (size, 1))
            block[:, dim] = np.arange(size)
            rows.append(block)
        return np.concatenate(rows)


def build(space: SearchSpace, constraint: Constraint, rng: np.random.Generator) -> Evolution:
    """Evolution over the architectures of `space` that meet `constraint`."""
    return Evolution(space, constraint, rng)
