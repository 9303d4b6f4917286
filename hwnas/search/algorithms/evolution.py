"""Evolution under hard constraints (SPOS, Guo et al. 2020, algorithm 1; once-for-all, Cai et al. 2020, section 3.3).

Generations first: the best of all that was scored are parents, their children mutations and crossovers, drawn towards a
parent until they meet the constraints. When generations stop to improve, children are climbed from by exchanges, and
what they lead to are the parents of the next ones (memetic algorithm, Moscato 1989). Nothing is proposed twice.

Architectures that differ in the choice on which most blocks depend, the resolution of images, have little in common:
each such choice has parents of its own, an island.
"""

import numpy as np

from hwnas.arch import Population
from hwnas.search.constraints import Constraints
from hwnas.search.exchanges import Climber, Scoring
from hwnas.search.proposals import Proposals
from hwnas.space import SearchSpace
from lut.compiled import Floats

LEAST_BATCH, MOST_BATCH = 32, 128
PARENTS = 24  # of an island
MUTATIONS = 3  # choices that a child draws anew, on average
STALLED = 1  # generations without a better architecture, after which the climbing begins
PURSUED = 12  # parents; a climb that does not reach as high as that many of them ends before it is costly
NO_SPREAD = 1e-200  # where all parents are equally good
ELSEWHERE = 0.15  # of the children are spread evenly: an island that is behind may only be less well searched
BROOD = 16  # children of which the best one is climbed from


class Island:
    """The parents with one choice in the dimension that most blocks depend on, best first, and their climber."""

    def __init__(self, proposals: Proposals, kept: int) -> None:
        self.rows = np.empty((0, len(proposals.space.sizes)), np.intp)
        self.scores = np.empty(0)
        self.climber = Climber(proposals, kept)

    @property
    def promising(self) -> float:
        """What a climb must reach to be pursued: the score of the last of the better parents."""
        return float(self.scores[min(len(self.scores) - 1, PURSUED)])

    def take(self, rows: Population, scores: Floats) -> None:
        """Keep the best of these and those before."""
        rows, first = np.unique(np.concatenate([self.rows, rows]), axis=0, return_index=True)
        scores = np.concatenate([self.scores, scores])[first]
        best = np.argsort(-scores, kind="stable")[:PARENTS]
        self.rows, self.scores = rows[best], scores[best]


class Evolution:
    """Proposes a random population first, then children of the best."""

    def __init__(self, space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> None:
        self._proposals, self._rng, self._sizes = Proposals(space, constraints, rng), rng, np.array(space.sizes)
        self._memory = self._proposals.memory
        self._kept = _most_coupled(space)
        self._islands = [Island(self._proposals, self._kept) for _ in range(space.sizes[self._kept])]
        self._climbing = False
        self._life = self._evolve()

    def ask(self) -> Population:
        """The next generation."""
        return next(self._life, np.empty((0, len(self._sizes)), np.intp)).copy()

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Remember the scores; before the climbing begins, every architecture may become a parent."""
        self._proposals.remember(population, accuracies)
        if not self._climbing:
            for choice, island in enumerate(self._islands):
                here = population[:, self._kept] == choice
                island.take(population[here], accuracies[here])

    def _evolve(self) -> Scoring[None]:
        """The whole life of the search: every population to be scored, in turn."""
        if not len(self._memory):
            yield self._random()
        yield from self._generations()
        self._climbing = True
        while True:
            known = len(self._memory)
            yield from self._climb(self._islands[self._rng.choice(len(self._islands), p=self._shares())])
            if len(self._memory) == known:
                others = self._proposals.others()
                if not len(others):
                    return
                yield others

    def _generations(self) -> Scoring[None]:
        best, stalled = -np.inf, 0
        while stalled < STALLED:
            counts = self._rng.multinomial(self._batch, self._shares())
            broods = [self._children(island, n) for island, n in zip(self._islands, counts, strict=True) if n]
            children = np.concatenate(broods)
            if not len(children):
                return
            yield children
            found = max(island.scores.max(initial=-np.inf) for island in self._islands)
            best, stalled = max(best, found), 0 if found > best else stalled + 1

    def _climb(self, island: Island) -> Scoring[None]:
        """Climb from the best of an island, at first, then from the best of a brood of children."""
        row, score = island.rows[0], island.scores[0]
        if island.climber.experienced:
            brood = self._children(island, BROOD)
            if not len(brood):
                return
            yield brood
            scores = self._memory.scores(brood)
            row, score = brood[scores.argmax()], scores.max()
        yield from island.climber.climb(row, float(score), self._batch, island.promising)
        island.take(island.climber.row[None], np.array([island.climber.score]))

    @property
    def _batch(self) -> int:
        """Few scores ask for many small generations, many for large ones: an eighth of what is known."""
        return min(max(len(self._memory) // 8, LEAST_BATCH), MOST_BATCH)

    def _shares(self) -> Floats:
        """How likely a child is to be of each island: the less, the further its best is behind the best of all."""
        best = np.array([island.scores.max(initial=-np.inf) for island in self._islands])
        leading = self._islands[int(best.argmax())].scores
        spread = max(float(leading[0] - leading[len(leading) // 4]), NO_SPREAD)
        shares = np.exp((best - best.max()) / spread)
        inhabited = np.isfinite(best)
        return np.asarray((1 - ELSEWHERE) * shares / shares.sum() + ELSEWHERE * inhabited / inhabited.sum())

    def _random(self) -> Population:
        """Random architectures, as many for each island; one that needs repair stays on its island, if it can."""
        count = LEAST_BATCH * len(self._islands)
        rows = self._rng.integers(0, self._sizes, (count, len(self._sizes)))
        rows[:, self._kept] = np.arange(count) % len(self._islands)
        homes = np.tile(self._proposals.anchor, (count, 1))
        homes[:, self._kept] = rows[:, self._kept]
        homes[~self._proposals.constraints.met(homes)] = self._proposals.anchor
        return self._proposals.fresh(rows, homes)

    def _children(self, island: Island, count: int) -> Population:
        """Mutations of crossovers; these take a stretch of choices, because neighbouring blocks belong together."""
        rank = (len(island.rows) * self._rng.random((2, count)) ** 2).astype(np.intp)
        mothers, fathers = island.rows[rank]
        cuts = np.sort(self._rng.integers(0, len(self._sizes) + 1, (2, count, 1)), axis=0)
        inherited = (np.arange(len(self._sizes)) >= cuts[0]) & (np.arange(len(self._sizes)) < cuts[1])
        mutated = self._rng.random(mothers.shape) < MUTATIONS / len(self._sizes)
        mutated[:, self._kept] = False
        children = np.where(inherited, fathers, mothers)
        children = np.where(mutated, self._rng.integers(0, self._sizes, children.shape), children)
        return self._proposals.fresh(children, mothers)


def _most_coupled(space: SearchSpace) -> int:
    """The dimension that most blocks depend on."""
    return max(range(len(space.sizes)), key=lambda dim: sum(dim in factor.dims for factor in space.factors))


def build(space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> Evolution:
    """Evolution over the architectures of `space` that meet `constraints`."""
    return Evolution(space, constraints, rng)
