"""Random search: the baseline any algorithm must beat (Li & Talwalkar 2019)."""

import numpy as np

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.search.proposals import Proposals
from hwnas.space import SearchSpace
from lut.compiled import Floats

POPULATION = 100


class RandomSearch:
    """Proposes architectures that no score has any influence on."""

    def __init__(self, space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> None:
        self._proposals = Proposals(space, constraints, rng)

    def ask(self) -> Population:
        """A random population."""
        found = self._proposals.fresh(self._proposals.space.sample(POPULATION, self._proposals.rng))
        return found if len(found) else self._proposals.others()

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Take note of what was scored."""
        self._proposals.remember(population, accuracies)


def build(space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> RandomSearch:
    """Random search over the architectures of `space` that meet `constraints`."""
    return RandomSearch(space, constraints, rng)
