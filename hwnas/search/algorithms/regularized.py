"""Regularised evolution (Real et al. 2019, algorithm 1): the oldest die, not the worst; no score rules forever.

A tournament among a random sample of the living chooses each parent; a child differs from it in one choice, or in a few
where it must be drawn back into the constraints. Nothing is proposed twice.
"""

import numpy as np

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.search.proposals import Proposals
from hwnas.space import SearchSpace
from lut.compiled import Floats

POPULATION, SAMPLE = 100, 25  # P and S of the paper
CHILDREN = 20  # born at once, where the paper has one: scores come in batches


class RegularizedEvolution:
    """Proposes a random population first, then mutations of winners of tournaments."""

    def __init__(self, space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> None:
        self._proposals, self._rng, self._sizes = Proposals(space, constraints, rng), rng, np.array(space.sizes)
        self._living = np.empty((0, len(space.sizes)), np.intp)  # oldest first
        self._accuracies = np.empty(0)

    def ask(self) -> Population:
        """The next children."""
        if not len(self._living):
            candidates = self._proposals.space.sample(POPULATION, self._rng)
            return self._proposals.fresh(candidates)
        sampled = self._rng.integers(len(self._living), size=(CHILDREN, SAMPLE))
        winners = sampled[np.arange(CHILDREN), self._accuracies[sampled].argmax(axis=1)]
        parents = self._living[winners]
        children = self._proposals.fresh(self._mutated(parents), parents)
        return children if len(children) else self._proposals.others()[:CHILDREN]

    def tell(self, population: Population, accuracies: Floats) -> None:
        """The children join the living, as many of the oldest leave them."""
        self._proposals.remember(population, accuracies)
        self._living = np.concatenate([self._living, population])[-POPULATION:]
        self._accuracies = np.concatenate([self._accuracies, accuracies])[-POPULATION:]

    def _mutated(self, parents: Population) -> Population:
        """Parents with another choice in one dimension."""
        children, each = parents.copy(), np.arange(len(parents))
        dims = self._rng.choice(np.flatnonzero(self._sizes > 1), len(parents))
        sizes = self._sizes[dims]
        children[each, dims] = (children[each, dims] + self._rng.integers(1, sizes)) % sizes
        return children


def build(space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> RegularizedEvolution:
    """Regularised evolution over the architectures of `space` that meet `constraints`."""
    return RegularizedEvolution(space, constraints, rng)
