"""Specialise: from a budget to a bundle, with the device having the last word.

Search proposes, the device disposes: an architecture is accepted only if the upper end of its measured interval is
within the budget. What a miss teaches goes into the calibration, and the search runs again.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwnas.arch import Arch, Population
from hwnas.export.proven import Exported, export_proven
from hwnas.nets.static import StaticNet
from hwnas.pricing import LatencyModel, evenly_spread, latency_model, net_name
from hwnas.progress import Report, silent
from hwnas.search.accuracy import AccuracyPredictor
from hwnas.search.constraints import Constraint
from hwnas.search.engine import Found, search
from hwnas.space import SearchSpace
from hwnas.training.datasets import Dataset
from hwnas.training.evaluate import SubnetEvaluator
from lut.blocks import Block, chain
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers import formats
from profilers.errors import DeviceError, UntrustedError
from profilers.formats import ModelFile
from profilers.measurement import Measurement, Plan, Visit, undisturbed
from profilers.profiler import Profiler

EVALUATED_SUBNETS = 100  # for the accuracy predictor
FINALISTS = 6  # the predictor's favourites, whose accuracy is then measured
ATTEMPTS = 5
FINAL_PLAN = Plan(target_pct=0.5, min_samples=60, max_rounds=2000, time_limit_s=30.0)
"""How a finished net is measured: at least a second, and on a busy device long enough to see it calm."""
COMPANY = 12  # calibration nets that are visited in turn with a finished net
ROUNDS_PER_REPORT = 10


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a search settles on: an architecture with its predicted latency and its validation accuracy."""

    arch: Arch
    predicted_ms: float
    validation_accuracy: float
    macs: int
    params: int
    evaluations: int  # architectures the predictor scored on the way

    def facts(self) -> dict[str, Any]:
        """The figures under the names that `--json` has for them."""
        return asdict(self) | {"arch": str(self.arch)}


@dataclass(frozen=True, kw_only=True)
class Specialised:
    """A net that was measured to meet its budget, and everything that is known of it."""

    candidate: Candidate
    device: str
    budget_ms: float
    measurement: Measurement
    raw_ms: float  # the median of all visits as the clock had it, disturbed ones included
    accuracy: float  # of the file that was measured, on test images
    max_difference: float  # of the file's logits from the net's
    attempts: int
    models: tuple[ModelFile, ...]  # the one that was measured, then the same net in other formats

    def facts(self) -> dict[str, Any]:
        """The figures under the names that `--json` and bundle.json have for them."""
        return {
            **self.candidate.facts(),
            "device": self.device,
            "budget_ms": self.budget_ms,
            "measured_ms": self.measurement.latency_ms,
            "interval_ms": list(self.measurement.interval_ms),
            "raw_ms": self.raw_ms,
            "accuracy": self.accuracy,
            "max_difference": self.max_difference,
            "attempts": self.attempts,
        }


@dataclass(frozen=True)
class Specialiser:
    """What specialising needs besides a budget; many budgets are served by one of these."""

    space: SearchSpace
    table: LatencyTable
    profiler: Profiler
    evaluator: SubnetEvaluator
    dataset: Dataset
    seed: int = 0
    report: Report = silent

    def candidate(self, limit_ms: float, model: LatencyModel) -> Candidate:
        """The most accurate architecture found whose predicted latency is within the limit.

        The predictor chooses finalists, their measured accuracies refine the predictor, and it chooses again. The
        best measured one wins, which may be a subnet that another budget's search evaluated. Raises InfeasibleError.
        """
        constraint = Constraint("latency", model, limit_ms, "ms")
        constraint.anchor()
        self._evaluate(evenly_spread(self.space, EVALUATED_SUBNETS, np.random.default_rng(self.seed)), "subnets")
        scored = 0
        for stage in ("first", "second"):
            found = self._search(constraint)
            self._evaluate(found.population[:FINALISTS], f"{stage} finalists")
            scored += found.evaluations
        known = {arch: accuracy for arch, accuracy in self.evaluator.known.items() if arch.space == self.space.name}
        archs = sorted(known)
        rows = np.stack([self.space.row(arch) for arch in archs])
        within = [arch for arch, met in zip(archs, constraint.met(rows), strict=True) if met]
        best = max(within, key=lambda arch: known[arch])
        blocks = self.space.layers(best).values()
        return Candidate(
            arch=best,
            predicted_ms=self._predicted_ms(model, best),
            validation_accuracy=known[best],
            macs=sum(block.macs for block in blocks),
            params=sum(block.params for block in blocks),
            evaluations=scored,
        )

    def specialise(self, budget_ms: float) -> Specialised:
        """The most accurate net that is measured to meet the budget.

        Raises InfeasibleError if the table rules the budget out, UntrustedError if no candidate kept it when
        measured, or if the exported file does not compute what the net does.
        """
        misses: list[tuple[Arch, float]] = []
        for attempt in range(1, ATTEMPTS + 1):
            model = latency_model(self.table, self.space)
            candidate = self.candidate(self._limit_ms(budget_ms, model, misses), model)
            net = self.evaluator.subnet(candidate.arch)
            exported = self._export(net, self.profiler.format)
            measurement, raw_ms = self._measure(candidate.arch, exported.model)
            if measurement.interval_ms[1] <= budget_ms:
                return Specialised(
                    candidate=candidate,
                    device=self.profiler.device.name,
                    budget_ms=budget_ms,
                    measurement=measurement,
                    raw_ms=raw_ms,
                    accuracy=self.evaluator.test_accuracy(exported),
                    max_difference=exported.max_difference,
                    attempts=attempt,
                    models=(exported.model, *self._other_files(net)),
                )
            misses.append((candidate.arch, measurement.interval_ms[1]))
        raise UntrustedError(
            f"{ATTEMPTS} candidates were measured and none kept {budget_ms:.4g} ms (the last took up to "
            f"{misses[-1][1]:.4g} ms): profile the device again with --careful, or when it is less busy"
        )

    def _export(self, net: StaticNet, format: str) -> Exported:
        device = self.profiler.device
        return export_proven(net, format, self.dataset, device.form, device.batch)

    def _other_files(self, net: StaticNet) -> Iterator[ModelFile]:
        """The net in the formats that the device does not take, as far as their writers are installed."""
        for format in formats.names():
            if format != self.profiler.format:
                with suppress(DeviceError):
                    yield self._export(net, format).model

    def _limit_ms(self, budget_ms: float, model: LatencyModel, misses: list[tuple[Arch, float]]) -> float:
        """What to ask of the model so that the measurement keeps the budget.

        One standard deviation of the model's own held-out error is left as room, and where a candidate missed,
        the model is taken to be wrong by as much for its neighbours, too.
        """
        least_ms, _ = model.least()
        if least_ms > budget_ms:
            return budget_ms  # which the search will find infeasible, and say by how much
        limit = budget_ms / (1 + model.calibration.spread_pct / 100)
        for arch, upper_ms in misses:
            limit = min(limit, budget_ms * self._predicted_ms(model, arch) / upper_ms)
        return max(limit, least_ms)

    def _predicted_ms(self, model: LatencyModel, arch: Arch) -> float:
        return float(model(self.space.row(arch)[None])[0])

    def _search(self, constraint: Constraint) -> Found:
        predictor = AccuracyPredictor.fit(self.space, self.evaluator.known)
        held_out = f"held-out error {100 * predictor.rmse:.2f} %, Kendall's tau {predictor.kendall_tau:.2f}"
        self.report("accuracy predictor", 1.0, held_out)
        return search(self.space, constraint, predictor, np.random.default_rng(self.seed), report=self.report)

    def _evaluate(self, rows: Population, what: str) -> None:
        archs = [arch for arch in map(self.space.arch, rows) if arch not in self.evaluator.known]
        for done, arch in enumerate(archs, 1):
            accuracy = self.evaluator.validation_accuracy(arch)
            self.report(f"evaluate {what}", done / len(archs), f"{done} of {len(archs)}: {100 * accuracy:.1f} %")

    def _measure(self, arch: Arch, model: ModelFile) -> tuple[Measurement, float]:
        """Time the very file that would be shipped; the table keeps the rounds as one more calibration net.

        Calibration nets are visited in turn with it, as when the table was made: alone it would find its weights in
        caches, or, after pauses, find them gone, and its time would mean something else than the table's do.
        """
        name, visits = net_name(arch), list[Visit]()
        with self.table.writing():
            company = [n for n in self.table.nets if n.startswith(net_name(self.space.name)) and n != name][:COMPANY]
            files = {name: model} | {n: self._calibration_net(n) for n in company}
            earlier = {n: self.table.visits[n] for n in company if n in self.table.visits}
            self.table.add_net(name, self.space.layers(arch).values())
            for found in self.profiler.measure(files, FINAL_PLAN, earlier, self.table.calm_ms):
                self.table.add_round(found)
                if name not in found.visits:  # a round that the device did not finish
                    continue
                visits.append(found.visits[name])
                if len(visits) % ROUNDS_PER_REPORT == 0:
                    measurement = undisturbed(visits, self.table.calm_ms)
                    self.report("measure", min(len(visits) / FINAL_PLAN.min_samples, 0.99), str(measurement))
                    if measurement.converged(FINAL_PLAN):  # the company need not be
                        break
        measurement = undisturbed(visits, self.table.calm_ms)
        self.report("measure", 1.0, str(measurement))
        return measurement, float(np.median([visit.ms for visit in visits]))

    def _calibration_net(self, name: str) -> ModelFile:
        weights = random_weights(np.random.default_rng(0))
        blocks = [Block.parse(key) for key in self.table.nets[name]]
        return self.profiler.model(chain([(block, weights) for block in blocks], self.profiler.device.batch))
