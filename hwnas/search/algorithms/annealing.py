"""Population annealing under hard constraints (Hukushima & Iba 2003), with informed proposals (Zanella 2020).

Architectures evolve side by side. What each single exchange of a choice should gain is known from the slopes of the
model of accuracy (Grathwohl et al. 2021), or else learnt from the scores on the way; what it costs is known exactly. A
child is its parent with the one or two exchanges that promise most and keep the constraints; Gumbel noise at the
temperature makes each pair as likely as its promise says. The child takes its parent's place if it is better, or with a
probability that falls with what it loses and with time (Metropolis). On the way the better architectures multiply and
the worse die out. If all ends before the search does, another population begins. Nothing is proposed twice.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from hwnas.arch import Population
from hwnas.search.algorithms import Gains
from hwnas.search.constraints import Constraints
from hwnas.search.proposals import Proposals
from hwnas.space import SearchSpace
from lut.compiled import Floats, Rows

EVALUATIONS = 1000  # of a population, where nobody tells
LEAST, MOST, LIFE = 8, 48, 60  # architectures of a population, and generations if that allows
FOUNDERS = 8  # random architectures of which one is taken
CANDIDATES = 6  # pairs, of which the first is taken that is new
LEADING = 8  # exchanges of which one is part of a pair
HOT = 0.4  # temperature at first, by what the median child differs from its parent
COLD = 0.05  # temperature at last, by that at first
ANY = 1e100  # a temperature at which all is equally likely
NO_CHANGE = 1e-200  # where all scores are equal
PENALTY = 3.0  # of the worth that is fitted to founders
LEARNT = 0.5  # of what a prediction was wrong by


@dataclass
class Living:
    """n architectures, their scores, and what each of them knows of the worth of all choices."""

    rows: Population  # (n, dims)
    scores: Floats  # (n,)
    worth: Floats  # (n, choices of all dimensions)

    def __getitem__(self, which: Rows) -> "Living":
        return Living(self.rows[which], self.scores[which], self.worth[which])


class Annealing:
    """One population after another, each from random architectures."""

    def __init__(self, space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> None:
        self._proposals, self._rng, self._sizes = Proposals(space, constraints, rng), rng, np.array(space.sizes)
        self._memory = self._proposals.memory
        self._first, self._dims, self._choices = space.columns.first, space.columns.dims, space.columns.choices
        self._evaluations = EVALUATIONS
        self._gains: Gains | None = None
        self._life = self._live()

    def ask(self) -> Population:
        """The next generation."""
        return next(self._life, np.empty((0, len(self._sizes)), np.intp)).copy()

    def tell(self, population: Population, accuracies: Floats) -> None:
        """Remember the scores."""
        self._proposals.remember(population, accuracies)

    def plan(self, evaluations: int, gains: Gains | None) -> None:
        """Cool down over all of the search; take what exchanges gain from a model, instead of learning it."""
        self._evaluations, self._gains = evaluations, gains

    def _live(self) -> Generator[Population]:
        """The whole life of the search: every population to be scored, in turn."""
        while True:
            known = len(self._memory)
            yield from self._anneal(self._evaluations)
            if len(self._memory) == known:
                others = self._proposals.others()
                if not len(others):
                    return
                yield others

    def _anneal(self, evaluations: int) -> Generator[Population]:
        count = min(max(evaluations // LIFE, LEAST), MOST)
        founders = self._proposals.fresh(self._rng.integers(0, self._sizes, (FOUNDERS * count, len(self._sizes))))
        if not len(founders):
            return
        yield founders
        living = self._founded(founders, count)
        generations = max(evaluations // count, 1)
        hot, temperature = ANY, ANY
        for generation in range(generations):
            cooler = hot * COLD ** (generation / generations)
            living = living[self._survivors(living.scores, 1 / cooler - 1 / temperature)]
            temperature = cooler
            of, children = self._children(living, temperature)
            new = self._proposals.unknown(children)
            if not len(new):
                break
            yield new
            scores = self._memory.scores(children)
            gained = scores - living.scores[of]
            if not self._gains:
                self._learn(living, of, children, gained)
            taken = self._rng.random(len(of)) < np.exp(np.minimum(gained / temperature, 0))
            of, children, scores = of[taken], children[taken], scores[taken]
            living.rows[of], living.scores[of] = children, scores
            if self._gains and len(of):
                living.worth[of] = self._gains(children)
            if hot == ANY:
                hot = temperature = max(HOT * float(np.median(np.abs(gained))), NO_CHANGE)

    def _founded(self, founders: Population, count: int) -> Living:
        """The best `count` of these; what choices are worth is learnt from all of them (ridge regression)."""
        scores = self._memory.scores(founders)
        best = np.resize(np.argsort(-scores, kind="stable")[:count], count)
        if self._gains:
            return Living(founders[best], scores[best], self._gains(founders[best]))
        one_hot = np.zeros((len(founders), len(self._dims)))
        one_hot[np.arange(len(founders))[:, None], self._first + founders] = 1
        penalty = PENALTY * np.eye(len(self._dims))
        worth = np.linalg.solve(one_hot.T @ one_hot + penalty, one_hot.T @ (scores - scores.mean()))
        return Living(founders[best], scores[best], np.tile(worth, (count, 1)))

    def _learn(self, living: Living, of: Rows, children: Population, gained: Floats) -> None:
        """The choices that came gain what was not foreseen, those that went lose it."""
        parents = living.rows[of]
        child, dim = np.nonzero(children != parents)
        parent = of[child]
        came, went = self._first[dim] + children[child, dim], self._first[dim] + parents[child, dim]
        foreseen = np.bincount(child, living.worth[parent, came] - living.worth[parent, went], len(of))
        share = LEARNT * (gained - foreseen) / np.maximum(2 * np.bincount(child, minlength=len(of)), 1)
        living.worth[parent, came] += share[child]  # a parent has one child, and each entry is met once
        living.worth[parent, went] -= share[child]

    def _survivors(self, scores: Floats, cooling: float) -> Rows:
        """Who lives on, some of them several times; `cooling` is by how much the inverse of the temperature rises."""
        shares = np.exp(cooling * (scores - scores.max()))
        places = (np.arange(len(scores)) + self._rng.random()) / len(scores)
        return np.asarray(np.searchsorted(np.cumsum(shares / shares.sum())[:-1], places))

    def _children(self, living: Living, temperature: float) -> tuple[Rows, Population]:
        """A new child for each of the living that can have one, and whose child it is."""
        own = np.take_along_axis(living.worth, self._first + living.rows, axis=1)
        # The largest of values with Gumbel noise is each with a probability proportional to its exponential.
        promise = living.worth - own[:, self._dims] + temperature * self._rng.gumbel(size=living.worth.shape)
        able = self._proposals.space.deciding(living.rows)[:, self._dims]
        promise[~able | (self._choices == living.rows[:, self._dims])] = -np.inf
        of, one, other = self._pairs(living.rows, promise)
        children = living.rows[of]
        children[np.arange(len(of)), self._dims[one]] = self._choices[one]
        two = np.flatnonzero(other < len(self._dims))
        children[two, self._dims[other[two]]] = self._choices[other[two]]
        children = self._proposals.space.canonical(children)
        fit = self._proposals.constraints.met(children)  # two exchanges may cost more than both alone
        fit[fit] = np.isnan(self._memory.scores(children[fit]))
        of, first = np.unique(of[fit], return_index=True)
        return of, children[fit][first]

    def _pairs(self, rows: Population, promise: Floats) -> tuple[Rows, Rows, Rows]:
        """For each architecture a few exchanges to be made together, those that promise most first.

        Whose they are, the first exchange, and the other; none is the last one.
        """
        leading = _largest(promise, LEADING)
        pairs = np.take_along_axis(promise, leading, axis=1)[:, :, None] + _or_none(promise)[:, None]
        for constraint in self._proposals.constraints.all:
            added = constraint.cost.exchanged(rows)
            spare = (constraint.limit - constraint.cost(rows))[:, None] - np.take_along_axis(added, leading, axis=1)
            pairs[_or_none(added)[:, None] > spare[:, :, None]] = -np.inf
        pairs[self._dims[leading][:, :, None] == np.append(self._dims, -1)] = -np.inf
        flat = pairs.reshape(len(rows), -1)
        best = _largest(flat, CANDIDATES)
        promised = np.take_along_axis(flat, best, axis=1)
        best = np.take_along_axis(best, np.argsort(-promised, axis=1, kind="stable"), axis=1)
        of, nth = np.nonzero(np.isfinite(np.take_along_axis(flat, best, axis=1)))
        first, other = np.divmod(best[of, nth], pairs.shape[2])
        return of, leading[of, first], other


def _largest(values: Floats, count: int) -> Rows:
    """Where the largest `count` of each row are, in any order."""
    count = min(count, values.shape[1] - 1)
    return np.asarray(np.argpartition(-values, count, axis=1)[:, :count])


def _or_none(values: Floats) -> Floats:
    """A 0 behind each row."""
    return np.concatenate([values, np.zeros((len(values), 1))], axis=1)


def build(space: SearchSpace, constraints: Constraints, rng: np.random.Generator) -> Annealing:
    """Population annealing over the architectures of `space` that meet `constraints`."""
    return Annealing(space, constraints, rng)
