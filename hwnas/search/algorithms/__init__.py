"""Search algorithms: one file each, with `build(space, constraints, rng) -> Searcher`. The file's name is its name."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.space import SearchSpace
from lut.compiled import Floats
from profilers import plugins


class Searcher(Protocol):
    """Proposes architectures and learns from their scores; it never evaluates, logs, stops or saves.

    >>> searcher = build(space, constraints, np.random.default_rng(0))
    >>> population = searcher.ask()
    >>> searcher.tell(population, accuracies)

    Its proposals depend on the generator and on the scores alone: a search that is repeated with the same scores asks
    for the same architectures.
    """

    def ask(self) -> Population:
        """Architectures to score next: canonical, within the constraints, never told before.

        Empty when the algorithm finds no more.
        """
        ...

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Take in the scores, (n,), of what was asked; before the first `ask`, of what is known already."""
        ...


Gains = Callable[[Population], Floats]
"""From architectures to what each single exchange of a choice should gain, (n, choices), to first order."""


@runtime_checkable
class Planning(Protocol):
    """A searcher that makes use of what is known of the search as a whole."""

    def plan(self, evaluations: int, gains: Gains | None) -> None:
        """Before the first `ask`: how much will be scored at most, and what is known of exchanges beside scores."""
        ...


Build = Callable[[SearchSpace, Constraints, np.random.Generator], Searcher]


def names() -> tuple[str, ...]:
    """The algorithms there are."""
    return plugins.names(__name__)


def load(name: str) -> Build:
    """The algorithm `name`; raises UnknownNameError."""
    build: Build = plugins.load(__name__, "search algorithm", name).build
    return build
