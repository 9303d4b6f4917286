"""Random search: the baseline any algorithm must beat (Li & Talwalkar 2019)."""

import numpy as np

from hwnas.arch import Population
from hwnas.pricing import Floats
from hwnas.search.constraints import Constraint
from hwnas.search.proposals import Proposals
from hwnas.space import SearchSpace

POPULATION = 100


class RandomSearch:
    """Proposes architectures that no score has any influence on."""

    def __init__(self, space: SearchSpace, constraint: Constraint, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng
        self._proposals = Proposals(space, constraint, rng)

    def ask(self) -> Population:
        """A random population."""
        return self._proposals.fresh(self._space.sample(POPULATION, self._rng))

    def tell(self, population: Population, accuracies: Floats) -> None:  # noqa: ARG002 - by definition
        """Take note of what was scored."""
        self._proposals.remember(population)


def build(space: SearchSpace, constraint: Constraint, rng: np.random.Generator) -> RandomSearch:
    """Random search over the architectures of `space` that meet `constraint`."""
    return RandomSearch(space, constraint, rng)
