"""What search algorithms share: architectures that are canonical, within the constraints and new, and a memory."""

from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.search.feasibility import feasible_row
from hwnas.space import SearchSpace
from lut.compiled import Floats, Rows

REPAIR_STEPS = 4  # each undoes a further quarter of a candidate's choices
LISTED = 2**14  # architectures of a space that is small enough to be listed
SAMPLED = 1000

Hashes = NDArray[np.uint64]


class Memory:
    """The score of every architecture that was ever told, found by a 64-bit hash of its row.

    Two rows with one hash are taken for one: with a million architectures that happens once in 10 million searches,
    and costs one proposal.
    """

    def __init__(self, dims: int) -> None:
        random = np.random.default_rng(dims).integers(0, 2**63, dims, dtype=np.uint64)
        self._multipliers = random * np.uint64(2) + np.uint64(1)  # odd, so that no choice is multiplied away
        self._hashes: Hashes = np.empty(0, np.uint64)  # ascending
        self._scores = np.empty(0)

    def __len__(self) -> int:
        return len(self._hashes)

    def hashes(self, population: Population) -> Hashes:
        """A number for each row, (n,); sums wrap around."""
        return np.asarray((population.astype(np.uint64) * self._multipliers).sum(axis=1, dtype=np.uint64))

    def scores(self, population: Population) -> Floats:
        """What is known of n architectures, (n,); NaN where nothing is."""
        hashes = self.hashes(population)
        places = np.searchsorted(self._hashes, hashes)
        known = places < len(self._hashes)
        known[known] = self._hashes[places[known]] == hashes[known]
        scores = np.full(len(population), np.nan)
        scores[known] = self._scores[places[known]]
        return scores

    def add(self, population: Population, scores: Floats) -> None:
        """Keep the scores, (n,), of architectures that were not known."""
        hashes, first = np.unique(self.hashes(population), return_index=True)
        places = np.searchsorted(self._hashes, hashes)
        self._hashes = np.insert(self._hashes, places, hashes)
        self._scores = np.insert(self._scores, places, scores[first])


class Proposals:
    """Turns candidates into architectures that are canonical, within the constraints, and new.

    An architecture over a limit is drawn towards one that is within all of them, by ever more of its choices, until it
    fits: towards its parent, so that a child stays what it inherited, or towards `anchor`, which is always within.
    Raises InfeasibleError, with the least attainable value, where no architecture is within the constraints.
    """

    def __init__(self, space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> None:
        self.space, self.constraints, self.rng = space, constraints, rng
        anchor = feasible_row(constraints) if constraints.all else np.zeros(len(space.sizes), np.intp)
        self.anchor: Rows = space.canonical(anchor[None])[0]
        self.memory = Memory(len(space.dimensions))

    def fresh(self, candidates: Population, homes: Population | None = None) -> Population:
        """The candidates, repaired (towards `homes`, one a candidate), without the known ones and without doubles."""
        return self.unknown(self._repaired(candidates, self.anchor if homes is None else homes))

    def unknown(self, rows: Population) -> Population:
        """Rows that were not told before, each once, in their order."""
        _, first = np.unique(self.memory.hashes(rows), return_index=True)
        rows = rows[np.sort(first)]
        return rows[np.isnan(self.memory.scores(rows))]

    def remember(self, population: Population, scores: Floats) -> None:
        """Never let `fresh` return these again."""
        self.memory.add(population, scores)

    def others(self) -> Population:
        """Whatever else there is: all of a small space, a random sample of a large one. Empty if nothing is left."""
        if prod(self.space.sizes) > LISTED:
            return self.fresh(self.space.sample(SAMPLED, self.rng))
        rows = self.space.canonical(np.array(list(product(*map(range, self.space.sizes))), np.intp))
        return self.unknown(rows[self.constraints.met(rows)])

    def _repaired(self, candidates: Population, homes: Population) -> Population:
        rows = self.space.canonical(candidates)
        over = np.flatnonzero(~self.constraints.met(rows))
        order = self.rng.random((len(over), rows.shape[1]))
        homes = np.broadcast_to(homes, rows.shape)
        for step in range(1, REPAIR_STEPS + 1):
            undone = order < step / REPAIR_STEPS
            drawn = self.space.canonical(np.where(undone, homes[over], candidates[over]))
            rows[over] = drawn
            still = ~self.constraints.met(drawn)
            over, order = over[still], order[still]
        return rows
