"""What a finished search can say besides its best: the front of accuracy against a cost, the proof of an optimum."""

from typing import Any

import numpy as np

from hwnas.search.algorithms.exact import SAMPLE
from hwnas.search.constraints import Constraints
from hwnas.search.engine import Found
from hwnas.search.optimum import solve
from hwnas.search.surrogate import Surrogate
from hwnas.space import SearchSpace
from lut.compiled import Compiled


def front(found: Found, cost: Compiled) -> Found:
    """The architectures than which none is both cheaper and as accurate, from the cheapest to the most accurate."""
    costs = cost(found.population)
    order = np.lexsort((-found.scores, costs))
    best_before = np.maximum.accumulate(np.append(-np.inf, found.scores[order][:-1]))
    kept = order[found.scores[order] > best_before]
    return Found(found.population[kept], found.scores[kept], found.evaluations)


def certificate(space: SearchSpace, constraints: Constraints, found: Found) -> dict[str, Any]:
    """The certified optimum of the additive surrogate fitted to the best that is known, as `exact` ended with it.

    `gap` is by how much another architecture's surrogate may be above the optimum at most: 0 is a proof.
    """
    surrogate = Surrogate.fit(space, found.population[:SAMPLE], found.scores[:SAMPLE])
    optimum = solve(surrogate.value, constraints)
    return {
        "surrogate_optimum": optimum.value,
        "surrogate_bound": max(optimum.bound, optimum.value),
        "gap": optimum.gap,
        "surrogate_error": surrogate.rmse,
    }
