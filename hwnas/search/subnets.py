"""Search over a trained supernet: a predictor proposes subnets, the supernet itself judges the finalists.

Evaluating is what takes the time, so no more subnets are evaluated than the predictor needs: it is fitted on few, and
on more while its error is above what evaluations are uncertain by; finalists are added while they improve the best.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from typing import Protocol

import numpy as np

from hwnas.arch import Arch
from hwnas.pricing import evenly_spread
from hwnas.progress import Report, silent
from hwnas.search.accuracy import AccuracyPredictor
from hwnas.search.constraints import Constraints
from hwnas.search.engine import search
from hwnas.search.feasibility import feasible_row
from hwnas.space import SearchSpace
from lut.compiled import Rows
from profilers.errors import InfeasibleError

FIRST_SUBNETS = 40  # evaluated, spread over the space, before the accuracy predictor is fitted
MORE_SUBNETS = 20  # evaluated besides, while the predictor is not sure
EVALUATED_SUBNETS = 100  # for the accuracy predictor, at most
SURE = 0.6  # held-out error of a predictor that is sure, in standard errors of an evaluation; all see the same images
FINALISTS = 12  # the predictor's favourites, whose accuracy is then measured
ROUNDS = 4  # of finalists, at most; two at least
PREDICTED = 8_000  # architectures that the predictor scores for each budget: its error is larger than what more find


class Judge(Protocol):
    """Measures accuracies of subnets; `known` has all that were measured."""

    @property
    def known(self) -> Mapping[Arch, float]:
        """Accuracies by architecture."""
        ...

    @property
    def images(self) -> int:
        """How many images an accuracy is found on, which says how exact it is."""
        ...

    def judge(self, archs: Sequence[Arch]) -> Iterable[tuple[Arch, object]]:
        """Measure the accuracies of subnets on validation images, each once; they come as they are done, then known."""
        ...


@dataclass(frozen=True)
class BestSubnet:
    """The most accurate subnet that was evaluated; `evaluations` architectures were scored by `predictor` before."""

    arch: Arch
    accuracy: float
    evaluations: int
    predictor: AccuracyPredictor


def best_subnet(
    space: SearchSpace, constraints: Constraints, judge: Judge, *, seed: int, algorithm: str | None = None,
    excluded: Collection[Arch] = (), evaluations: int | None = None, report: Report = silent,
) -> BestSubnet:  # fmt: skip
    """The most accurate subnet found that meets all constraints and is none of the `excluded`.

    The predictor chooses finalists, their measured accuracies refine the predictor, and it chooses again, until no
    finalist is more accurate than those before. The best measured one wins, which may be a subnet that another
    budget's search evaluated. At most so many `evaluations` are made. Raises InfeasibleError, also where all that meet
    the constraints are excluded.
    """
    feasible_row(constraints)
    made = _Evaluations(judge, evaluations)
    predictor = _fitted(space, made, seed, report)
    scored, best = 0, None
    for number in range(ROUNDS):
        found = search(
            space, constraints, predictor, np.random.default_rng(seed), algorithm=algorithm, evaluations=PREDICTED,
            gains=predictor.gains, report=report,
        )  # fmt: skip
        scored += found.evaluations
        fresh = (row for row in found.population if space.arch(row) not in excluded)
        finalists = list(islice(fresh, FINALISTS))
        new = made.make(space, finalists, f"finalists of round {number + 1}", report)
        before, best = best, _best(space, constraints, judge.known, excluded)
        if not new or best == before:
            break
        predictor = AccuracyPredictor.fit_all(space, judge.known)[0]
    assert best is not None
    return BestSubnet(*best, scored, predictor)


def _fitted(space: SearchSpace, made: "_Evaluations", seed: int, report: Report) -> AccuracyPredictor:
    """The best predictor on what is known, and on evaluations spread over the space where that is not enough.

    More are made only while its held-out error is larger than what evaluations are themselves uncertain by.
    """
    spread = evenly_spread(space, EVALUATED_SUBNETS, np.random.default_rng(seed))
    rows = (row for row in spread[_interleaved(len(spread))] if space.arch(row) not in made.known)
    wanted = FIRST_SUBNETS - sum(arch.space == space.name for arch in made.known)
    while True:
        spare = None if made.left is None else made.left - FINALISTS  # without a round of finalists
        taken = list(islice(rows, max(0, wanted if spare is None else min(wanted, spare))))
        made.make(space, taken, "subnets", report)
        predictor = AccuracyPredictor.fit_all(space, made.known)[0]
        report("accuracy predictor", 1.0, predictor.describe())
        if predictor.rmse <= SURE * made.error or (wanted > 0 and not taken):
            return predictor
        wanted = MORE_SUBNETS


def _interleaved(count: int) -> list[int]:
    """Numbers below `count` in an order in which the first of them are spread evenly, however many (van der Corput)."""
    return sorted(range(count), key=lambda number: int(f"{number:032b}"[::-1], 2))


def _best(
    space: SearchSpace, constraints: Constraints, known: Mapping[Arch, float], excluded: Collection[Arch]
) -> tuple[Arch, float]:
    """The most accurate known subnet within the constraints, and its accuracy."""
    archs = sorted(arch for arch in known if arch.space == space.name)
    met = constraints.met(np.stack([space.row(arch) for arch in archs]))
    left = [arch for arch, within in zip(archs, met, strict=True) if within and arch not in excluded]
    if not left:
        limit = constraints.all[0]
        raise InfeasibleError("no other architecture is left within the limits", limit.cost.least()[0])
    best = max(left, key=lambda arch: known[arch])
    return best, known[best]


class _Evaluations:
    """Evaluates subnets that are not known yet, `most` of them at most."""

    def __init__(self, judge: Judge, most: int | None) -> None:
        self._judge, self._most, self.made = judge, most, 0

    @property
    def known(self) -> Mapping[Arch, float]:
        """Accuracies by architecture."""
        return self._judge.known

    @property
    def left(self) -> int | None:
        """How many may still be made; None for any number."""
        return None if self._most is None else max(self._most - self.made, 0)

    @property
    def error(self) -> float:
        """The standard error of an evaluation: that of a share of so many images, in the middle of what is known."""
        share = float(np.median(list(self.known.values())))
        return sqrt(share * (1 - share) / self._judge.images)

    def make(self, space: SearchSpace, rows: Iterable[Rows], what: str, report: Report) -> int:
        """Evaluate those of the architectures that are new; returns how many these were."""
        archs = [arch for arch in map(space.arch, rows) if arch not in self.known][: self.left]
        for done, (arch, _) in enumerate(self._judge.judge(archs), 1):
            self.made += 1
            report(f"evaluate {what}", done / len(archs), f"{done} of {len(archs)}: {100 * self.known[arch]:.1f} %")
        return len(archs)
