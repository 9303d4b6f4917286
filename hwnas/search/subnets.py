"""Search over a trained supernet: a predictor proposes subnets, the supernet itself judges the finalists."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
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

EVALUATED_SUBNETS = 100  # for the accuracy predictor
FINALISTS = 6  # the predictor's favourites, whose accuracy is then measured
PREDICTED = 8_000  # architectures that the predictor scores for each budget: its error is larger than what more find


class Judge(Protocol):
    """Measures accuracies of subnets; `known` has all that were measured."""

    @property
    def known(self) -> Mapping[Arch, float]:
        """Accuracies by architecture."""
        ...

    def validation_accuracy(self, arch: Arch) -> float:
        """Accuracy of a subnet on validation images, measured once."""
        ...


@dataclass(frozen=True)
class BestSubnet:
    """The most accurate subnet that was judged; `evaluations` architectures were scored by `predictor` on the way."""

    arch: Arch
    accuracy: float
    evaluations: int
    predictor: AccuracyPredictor


def best_subnet(
    space: SearchSpace, constraints: Constraints, judge: Judge, *, seed: int, algorithm: str | None = None,
    excluded: Collection[Arch] = (), report: Report = silent,
) -> BestSubnet:  # fmt: skip
    """The most accurate subnet found that meets all constraints and is none of the `excluded`.

    The predictor chooses finalists, their measured accuracies refine the predictor, and it chooses again. The best
    measured one wins, which may be a subnet that another budget's search evaluated. Raises InfeasibleError, also where
    all that meet the constraints are excluded.
    """
    feasible_row(constraints)
    _judge(space, evenly_spread(space, EVALUATED_SUBNETS, np.random.default_rng(seed)), judge, "subnets", report)
    scored = 0
    for stage in ("first", "second"):
        predictor = AccuracyPredictor.fit_all(space, judge.known)[0]
        report("accuracy predictor", 1.0, predictor.describe())
        rng = np.random.default_rng(seed)
        found = search(
            space, constraints, predictor, rng, algorithm=algorithm, evaluations=PREDICTED, gains=predictor.gains,
            report=report,
        )  # fmt: skip
        fresh = (row for row in found.population if space.arch(row) not in excluded)
        _judge(space, islice(fresh, FINALISTS), judge, f"{stage} finalists", report)
        scored += found.evaluations
    known = {arch: accuracy for arch, accuracy in judge.known.items() if arch.space == space.name}
    archs = sorted(known)
    met = constraints.met(np.stack([space.row(arch) for arch in archs]))
    left = [arch for arch, within in zip(archs, met, strict=True) if within and arch not in excluded]
    if not left:
        limit = constraints.all[0]
        raise InfeasibleError("no other architecture is left within the limits", limit.cost.least()[0])
    best = max(left, key=lambda arch: known[arch])
    return BestSubnet(best, known[best], scored, predictor)


def _judge(space: SearchSpace, rows: Iterable[Rows], judge: Judge, what: str, report: Report) -> None:
    archs = [arch for arch in map(space.arch, rows) if arch not in judge.known]
    for done, arch in enumerate(archs, 1):
        accuracy = judge.validation_accuracy(arch)
        report(f"evaluate {what}", done / len(archs), f"{done} of {len(archs)}: {100 * accuracy:.1f} %")
