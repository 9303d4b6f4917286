"""Local search by exchanges: an architecture with one, two or more of its choices replaced by others.

What single exchanges gain is measured. What several gain together is taken to be the sum of that, which holds nearly,
because accuracy is nearly additive; so of the thousands of combinations only the most promising are scored. This is
variable-depth search (Lin & Kernighan 1973): a beam of combinations grows by one exchange at a time, and may be over a
limit on the way, but not at the end.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Population
from hwnas.search.proposals import Proposals
from lut.compiled import Floats, Rows

DEPTH = 4  # exchanges at once, at most
BEAM = 200  # combinations that are extended
STEEP = 0.9  # quantile of the gains per cost: what a budget is worth that a combination exceeds

Result = TypeVar("Result")
Scoring = Generator[Population, None, Result]
"""Yields populations; goes on when their scores are in the memory."""


@dataclass(frozen=True)
class Singles:
    """All architectures that one exchange makes of `row`; feasible or not."""

    row: Rows  # (dims,)
    rows: Population  # (m, dims), canonical
    dims: NDArray[np.intp]  # (m,), the dimension that is exchanged
    choices: NDArray[np.intp]  # (m,), its new choice
    added: Floats  # (m, constraints), what each adds to each cost
    spare: Floats  # (constraints,), what `row` leaves of each limit

    @property
    def fit(self) -> NDArray[np.bool_]:
        """Which are feasible alone, (m,)."""
        return np.asarray((self.added <= self.spare).all(axis=1))


class Climber:
    """Climbs from an architecture to one that no single exchange and no promising combination improves.

    `worth` is what is known of the worth of every choice, (sum of sizes): what is learnt in one climb guides the next.
    """

    def __init__(self, proposals: Proposals, kept: int) -> None:
        self._proposals = proposals
        columns = proposals.space.columns
        self._first, self._dims, self._choices = columns.first, columns.dims, columns.choices
        self._movable = self._dims != kept
        self.worth = np.full(len(self._dims), np.nan)
        self.row, self.score = proposals.anchor, -np.inf

    @property
    def experienced(self) -> bool:
        """Whether it has climbed before."""
        return not np.isnan(self.worth).all()

    def climb(self, row: Rows, score: float, batch: int, promising: float) -> Scoring[None]:
        """Climb from `row`; `self.row` and `self.score` are where it has got to."""
        self.row, self.score = row, score
        while True:
            singles = self._singles(self.row)
            before = self.score
            yield from self._combine(singles, batch)
            if self.score > before:
                continue
            if self.experienced and self.score < promising:
                return
            yield from self._measure(singles)
            yield from self._combine(singles, batch)
            if self.score <= before:
                return

    def _singles(self, row: Rows) -> Singles:
        space, constraints = self._proposals.space, self._proposals.constraints
        other = self._movable & (self._choices != row[self._dims])
        dims, choices = self._dims[other], self._choices[other]
        rows = np.tile(row, (len(dims) + 1, 1))  # the last stays as it is
        rows[np.arange(len(dims)), dims] = choices
        rows = space.canonical(rows)
        costs = np.array([constraint.cost(rows) for constraint in constraints.all]).reshape(-1, len(rows)).T
        limits = np.array([constraint.limit for constraint in constraints.all])
        changed = (rows[:-1] != row).any(axis=1)
        changed &= np.isfinite(costs[:-1]).all(axis=1)  # blocks that nothing is known of are no way to anywhere
        added = (costs[:-1] - costs[-1])[changed]
        return Singles(row, rows[:-1][changed], dims[changed], choices[changed], added, limits - costs[-1])

    def _measure(self, singles: Singles) -> Scoring[None]:
        """Learn what each exchange gains, alone or, where that is over a limit, beside the best one that makes room."""
        origin = self.score
        worth_here = self.worth[self._first[singles.dims] + singles.row[singles.dims]]
        base = np.where(np.isnan(worth_here), 0.0, worth_here)
        self.worth[self._first[singles.dims] + singles.row[singles.dims]] = base
        gains = np.full(len(singles.rows), np.nan)
        fit = np.flatnonzero(singles.fit)
        gains[fit] = (yield from self._scored(singles.rows[fit])) - origin
        over = np.flatnonzero(~singles.fit)
        if len(fit) and len(over):
            room = (singles.added[over][:, None] + singles.added[fit] <= singles.spare).all(axis=2)
            room &= singles.dims[over][:, None] != singles.dims[fit]
            partners = np.where(room, gains[fit], -np.inf).argmax(axis=1)
            over, partners = over[room.any(axis=1)], fit[partners[room.any(axis=1)]]
            pairs = singles.rows[partners]
            pairs[np.arange(len(over)), singles.dims[over]] = singles.choices[over]
            pairs = self._proposals.space.canonical(pairs)
            met = self._proposals.constraints.met(pairs)
            over, partners, pairs = over[met], partners[met], pairs[met]
            gains[over] = (yield from self._scored(pairs)) - origin - gains[partners]
        known = ~np.isnan(gains)
        at = self._first[singles.dims] + singles.choices
        self.worth[at[known]] = base[known] + gains[known]

    def _combine(self, singles: Singles, batch: int) -> Scoring[None]:
        """Score the most promising combinations."""
        at = self._first[singles.dims]
        gains = self.worth[at + singles.choices] - self.worth[at + singles.row[singles.dims]]
        known = ~np.isnan(gains)
        if not known.any():
            return
        rows = _promising(singles, np.flatnonzero(known), gains[known], batch)
        rows = self._proposals.unknown(self._proposals.space.canonical(rows))
        rows = rows[self._proposals.constraints.met(rows)][:batch]
        yield from self._scored(rows)

    def _scored(self, rows: Population) -> Scoring[Floats]:
        """The scores of rows, (n,), from memory where they are known; moves to the best if that is an improvement."""
        scores = self._proposals.memory.scores(rows)
        new = np.flatnonzero(np.isnan(scores))
        if len(new):
            new = new[np.sort(np.unique(self._proposals.memory.hashes(rows[new]), return_index=True)[1])]
            yield rows[new]
            scores = self._proposals.memory.scores(rows)
        if len(rows) and scores.max() > self.score:
            self.row, self.score = rows[scores.argmax()], float(scores.max())
        return scores


def _promising(singles: Singles, which: NDArray[np.intp], gains: Floats, count: int) -> Population:
    """Rows with one to DEPTH exchanges, those first that should gain most; a few more than `count`."""
    dims, choices = singles.dims[which], singles.choices[which]
    added, spare = singles.added[which], singles.spare
    prices = _prices(gains, added)
    rows, summed, costs = singles.row[None], np.zeros(1), np.zeros((1, len(spare)))
    found, worths = [], []
    for _ in range(DEPTH):
        total = summed[:, None] + gains
        for number, price in enumerate(prices):
            total = total - price * np.maximum(costs[:, number, None] + added[:, number] - spare[number], 0)
        total[rows[:, dims] != singles.row[dims]] = -np.inf
        total = total.ravel()
        top = np.argpartition(-total, min(3 * BEAM, len(total) - 1))[: 3 * BEAM]
        top = top[np.argsort(-total[top], kind="stable")]
        top = top[np.isfinite(total[top])]
        of, exchange = np.divmod(top, len(dims))
        rows = rows[of]
        rows[np.arange(len(rows)), dims[exchange]] = choices[exchange]
        summed, costs = summed[of] + gains[exchange], costs[of] + added[exchange]
        met = (costs <= spare).all(axis=1)
        found.append(rows[met])
        worths.append(summed[met])
        rows, summed, costs = rows[:BEAM], summed[:BEAM], costs[:BEAM]
    order = np.argsort(-np.concatenate(worths), kind="stable")
    return np.asarray(np.concatenate(found)[order[: 3 * count]])


def _prices(gains: Floats, added: Floats) -> list[float]:
    """What a unit of each cost is worth, judged by the exchanges that gain most for it."""
    prices = []
    for cost in added.T:
        dearer = cost > 0
        prices.append(max(float(np.quantile(gains[dearer] / cost[dearer], STEEP)), 0.0) if dearer.any() else 0.0)
    return prices
