"""Search algorithms: one file each, with `build(space, constraint, rng) -> Searcher`. The file's name is its name."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from hwnas.arch import Population
from hwnas.pricing import Floats
from hwnas.search.constraints import Constraint
from hwnas.space import SearchSpace
from profilers import plugins


class Searcher(Protocol):
    """Proposes architectures and learns from their scores; it never evaluates, logs, stops or saves.

    >>> searcher = build(space, constraint, np.random.default_rng(0))
    >>> population = searcher.ask()
    >>> searcher.tell(population, accuracies)
    """

    def ask(self) -> Population:
        """Architectures to score next: canonical, within the constraint, never proposed before.

        Empty when the algorithm finds no more.
        """
        ...

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Take in the scores, (n,), of what was asked."""
        ...


Build = Callable[[SearchSpace, Constraint, np.random.Generator], Searcher]


def names() -> tuple[str, ...]:
    """The algorithms there are."""
    return plugins.names(__name__)


def load(name: str) -> Build:
    """The algorithm `name`; raises UnknownNameError."""
    build: Build = plugins.load(__name__, "search algorithm", name).build
    return build
