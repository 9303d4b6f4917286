"""The exact optimum of an additive surrogate of the accuracy, certified, and refitted where it turned out to be wrong.

A random population is scored first. From then on a sum over slots is fitted to the best that is known, its optimum
under all constraints is found with proof (`hwnas.search.optimum`), and asked for together with others nearly as good.
An accuracy that is such a sum is optimised exactly; of others, the answer is as good as the surrogate near its optimum.
"""

import numpy as np

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.search.optimum import Optimum, solve
from hwnas.search.proposals import Proposals
from hwnas.search.surrogate import Surrogate
from hwnas.space import SearchSpace
from lut.compiled import Floats

SAMPLE = 500  # scored before the first fit, and fitted to: the best of all known
NEAR = 50  # asked for at a time


class Exact:
    """Proposes a random population first, then what the surrogate holds for best."""

    def __init__(self, space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> None:
        self._space, self._constraints, self._rng = space, constraints, rng
        self._proposals = Proposals(space, constraints, rng)
        self._population = np.empty((0, len(space.dimensions)), np.intp)  # best first
        self._accuracies = np.empty(0)
        self._sampled = False
        self.surrogate: Surrogate | None = None  # the last one fitted
        self.optimum: Optimum | None = None  # of that surrogate, with its certificate

    def ask(self) -> Population:
        """Architectures near the surrogate's optimum that were not scored yet; none when all of them were."""
        if not self._sampled:
            self._sampled = True
            return self._proposals.fresh(self._space.sample(SAMPLE, self._rng))
        self.surrogate = Surrogate.fit(self._space, self._population, self._accuracies)
        self.optimum = solve(self.surrogate.value, self._constraints)
        near = self._space.canonical(self.optimum.near)
        fresh = self._proposals.fresh(near)
        return fresh[np.argsort(-self.surrogate.value(fresh), kind="stable")][:NEAR]

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Keep the best of all that was scored to fit to."""
        self._proposals.remember(population, accuracies)
        rows = np.concatenate([self._population, population])
        scores = np.concatenate([self._accuracies, accuracies])
        best = np.argsort(-scores, kind="stable")[:SAMPLE]
        self._population, self._accuracies = rows[best], scores[best]


def build(space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> Exact:
    """The search for the exact optimum of a surrogate, over the architectures of `space` that meet `constraints`."""
    return Exact(space, constraints, rng)
