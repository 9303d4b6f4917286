"""The search loop: ask, score, tell, for a bounded number of evaluations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hwnas.arch import Population
from hwnas.progress import Report, silent
from hwnas.search import algorithms
from hwnas.search.algorithms import Gains, Planning
from hwnas.search.constraints import Constraints
from hwnas.space import SearchSpace
from lut.compiled import Floats

EVALUATIONS = 10_000  # a second, or two on a slow core, with the published predictor

Score = Callable[[Population], Floats]
"""From architectures to their accuracies, (n,)."""


@dataclass(frozen=True)
class Found:
    """Scored architectures within the constraints, best first, none twice; `evaluations` of them were scored here."""

    population: Population
    scores: Floats
    evaluations: int

    @classmethod
    def of(cls, population: Population, scores: Floats, evaluations: int) -> "Found":
        """Put in order; of equal scores the one that was found first leads."""
        order = np.argsort(-scores, kind="stable")
        return cls(population[order], scores[order], evaluations)


def search(
    space: SearchSpace,
    constraints: Constraints,
    score: Score,
    rng: np.random.Generator,
    *,
    algorithm: str | None = None,
    evaluations: int = EVALUATIONS,
    gains: Gains | None = None,
    start: Sequence[Found] = (),
    report: Report = silent,
) -> Found:
    """The architectures within `constraints` that `score` likes best.

    `gains` tells what single exchanges should do to `score`, to first order; where that is known, the usual algorithm
    is `annealing`, else `evolution`. `start` is what other searches with the same `score` have found, for other
    budgets say: those within the constraints are known from the beginning, and found again here. Ends after
    `evaluations`, or when there is nothing left to propose. Raises InfeasibleError, with the least attainable cost, if
    no architecture is within the constraints.
    """
    searcher = algorithms.load(algorithm or ("annealing" if gains else "evolution"))(space, constraints, rng)
    if isinstance(searcher, Planning):
        searcher.plan(evaluations, gains)
    populations, scores = _known(space, constraints, start)
    if len(scores[0]):
        searcher.tell(populations[0], scores[0])
    done, best = 0, float(scores[0].max(initial=-np.inf))
    while done < evaluations:
        population = searcher.ask()[: evaluations - done]
        if not len(population):
            break
        found = score(population)
        searcher.tell(population, found)
        populations.append(population)
        scores.append(found)
        done, best = done + len(population), max(best, float(found.max()))
        report("search", done / evaluations, f"best {best:.4f}")
    if done < evaluations:  # it ended early
        report("search", 1.0, f"best {best:.4f}")
    return Found.of(np.concatenate(populations), np.concatenate(scores), done)


def _known(
    space: SearchSpace, constraints: Constraints, start: Sequence[Found]
) -> tuple[list[Population], list[Floats]]:
    """What `start` holds within the constraints, each architecture once."""
    none = np.empty((0, len(space.sizes)), np.intp)
    rows = np.concatenate([none, *(found.population for found in start)])
    scores = np.concatenate([np.empty(0), *(found.scores for found in start)])
    met = constraints.met(rows)
    rows, first = np.unique(rows[met], axis=0, return_index=True)
    return [rows], [scores[met][first]]
