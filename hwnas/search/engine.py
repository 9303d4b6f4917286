"""The search loop: ask, score, tell, for a bounded number of generations."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hwnas.arch import Population
from hwnas.pricing import Floats
from hwnas.progress import Report, silent
from hwnas.search import algorithms
from hwnas.search.constraints import Constraint
from hwnas.space import SearchSpace

GENERATIONS = 60
PATIENCE = 15  # generations without a better architecture after which the search ends


@dataclass(frozen=True)
class Found:
    """What a search scored, best first: populations and their scores, one row an architecture, none twice."""

    population: Population
    scores: Floats

    @property
    def evaluations(self) -> int:
        """How many architectures were scored."""
        return len(self.scores)


def search(
    space: SearchSpace,
    constraint: Constraint,
    score: Callable[[Population], Floats],
    rng: np.random.Generator,
    *,
    algorithm: str = "evolution",
    report: Report = silent,
) -> Found:
    """The architectures within `constraint` that `score` likes best.

    Raises InfeasibleError, with the least attainable cost, if none is within it.
    """
    searcher = algorithms.load(algorithm)(space, constraint, rng)
    populations, scores = [], []
    best, best_generation = -np.inf, 0
    for generation in range(GENERATIONS):
        population = searcher.ask()
        if not len(population):
            break
        found = score(population)
        searcher.tell(population, found)
        populations.append(population)
        scores.append(found)
        if found.max() > best:
            best, best_generation = float(found.max()), generation
        report("search", (generation + 1) / (GENERATIONS + 1), f"best {best:.4f}")
        if generation - best_generation >= PATIENCE:
            break
    report("search", 1.0, f"best {best:.4f}")
    rows, values = np.concatenate(populations), np.concatenate(scores)
    order = np.argsort(-values, kind="stable")
    return Found(rows[order], values[order])
