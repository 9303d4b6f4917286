"""What search algorithms share: feasible architectures by construction, and a memory of those already proposed."""

import numpy as np

from hwnas.arch import Population
from hwnas.search.constraints import Constraint
from hwnas.space import SearchSpace

REPAIR_STEPS = 8


class Proposals:
    """Turns candidates into architectures that are canonical, within the constraint, and new.

    An architecture over the limit is drawn towards the cheapest one, by ever more of its choices, until it fits.
    """

    def __init__(self, space: SearchSpace, constraint: Constraint, rng: np.random.Generator) -> None:
        self._space, self._constraint, self._rng = space, constraint, rng
        self._anchor = space.row(constraint.anchor())
        self._seen: set[bytes] = set()

    def fresh(self, candidates: Population) -> Population:
        """The candidates, repaired, without those proposed before and without doubles."""
        rows = self._repair(self._space.canonical(candidates))
        return np.array([row for row in np.unique(rows, axis=0) if row.tobytes() not in self._seen]).reshape(
            -1, len(self._space.dimensions)
        )

    def remember(self, population: Population) -> None:
        """Never let `fresh` return these again."""
        self._seen.update(row.tobytes() for row in np.asarray(population, np.intp))

    def _repair(self, population: Population) -> Population:
        rank = self._rng.permuted(np.tile(np.arange(population.shape[1]), (len(population), 1)), axis=1)
        repaired = population.copy()
        for step in range(1, REPAIR_STEPS + 1):
            over = ~self._constraint.met(repaired)
            if not over.any():
                break
            drawn = rank[over] < population.shape[1] * step / REPAIR_STEPS
            repaired[over] = self._space.canonical(np.where(drawn, self._anchor, population[over]))
        return repaired
