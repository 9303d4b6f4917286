"""Specialise: from a budget to a bundle, with the device having the last word.

Search proposes, the device disposes: an architecture is accepted only if the upper end of its measured interval is
within the budget. What a measurement teaches goes into the calibration and into what is asked of the table next, and
the search runs again: after a miss, and where much of the budget is left over.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwnas.arch import Arch
from hwnas.export.proven import Exported, export_proven
from hwnas.nets.static import StaticNet
from hwnas.pricing import latency_model, net_name
from hwnas.progress import Report, silent
from hwnas.search.correction import ENOUGH, Outcome, corrected_ms
from hwnas.search.limits import Limits
from hwnas.search.subnets import BestSubnet, best_subnet
from hwnas.space import SearchSpace
from hwnas.training.datasets import Dataset
from hwnas.training.evaluate import SubnetEvaluator
from lut.blocks import Block, chain
from lut.compiled import Compiled
from lut.latency_model import LatencyModel
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers import formats
from profilers.device import Device
from profilers.errors import DeviceError, InfeasibleError, InvalidInputError, UntrustedError
from profilers.formats import ModelFile
from profilers.measurement import Measurement, Plan, Visit, undisturbed
from profilers.profiler import Profiler

ATTEMPTS = 6  # candidates that are measured for a budget, at most
FINAL_PLAN = Plan(target_pct=0.5, min_samples=60, max_rounds=2000, time_limit_s=30.0)
"""How a finished net is measured: at least a second, and on a busy device long enough to see it calm."""
COMPANY = 12  # calibration nets that are visited in turn with a finished net
ROUNDS_PER_REPORT = 10


@dataclass(frozen=True)
class Target:
    """A device that a net is made for: what its table predicts, and the device itself, which has the last word."""

    table: LatencyTable
    profiler: Profiler


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a net takes on one device, predicted and measured, and the budget it keeps there."""

    budget_ms: float
    predicted_ms: float
    measurement: Measurement
    raw_ms: float  # the median of all visits as the clock had it, disturbed ones included

    def facts(self) -> dict[str, Any]:
        """The figures under the names that `--json` and bundle.json have for them."""
        return {
            "budget_ms": self.budget_ms,
            "predicted_ms": self.predicted_ms,
            "measured_ms": self.measurement.latency_ms,
            "interval_ms": list(self.measurement.interval_ms),
            "raw_ms": self.raw_ms,
            "budget_use": self.use,
        }

    @property
    def use(self) -> float:
        """The share of the budget that the upper end of the measured interval takes."""
        return self.measurement.interval_ms[1] / self.budget_ms


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A subnet that was exported and measured on all devices."""

    arch: Arch
    accuracy: float  # on validation images
    net: StaticNet
    exports: Mapping[str, Exported]  # by format, that of the first device first
    kept: Mapping[str, Kept]  # by device

    @property
    def keeps(self) -> bool:
        """Whether it is within the budget on every device, to the upper end of its interval."""
        return all(found.measurement.interval_ms[1] <= found.budget_ms for found in self.kept.values())

    @property
    def use(self) -> float:
        """The share of the budget that it takes where it takes most."""
        return max(found.use for found in self.kept.values())

    def describe(self, number: int) -> str:
        """One line for people: whether it is within the budget, and what that means for the search."""
        told = f"candidate {number} takes up to {100 * self.use:.0f} % of the budget"
        if not self.keeps:
            return f"{told}: smaller ones are looked for"
        return f"{told}: it is kept" + ("" if self.use >= ENOUGH else ", and larger ones are looked for")


@dataclass(frozen=True, kw_only=True)
class Specialised:
    """A net that was measured to meet its budgets, and everything that is known of it."""

    arch: Arch
    kept: Mapping[str, Kept]  # by device
    validation_accuracy: float
    accuracy: float  # of the file that was measured, on test images
    macs: int
    params: int
    evaluations: int  # architectures the predictor scored on the way
    max_difference: float  # of the file's logits from the net's
    attempts: int
    models: tuple[ModelFile, ...]  # the one that was measured, then the same net in other formats

    def facts(self) -> dict[str, Any]:
        """The figures under the names that `--json` and bundle.json have for them; those of the first device on top."""
        device, kept = next(iter(self.kept.items()))
        several = {"devices": [{"device": name, **found.facts()} for name, found in self.kept.items()]}
        return {
            "arch": str(self.arch),
            "device": device,
            **kept.facts(),
            "validation_accuracy": self.validation_accuracy,
            "accuracy": self.accuracy,
            "macs": self.macs,
            "params": self.params,
            "evaluations": self.evaluations,
            "max_difference": self.max_difference,
            "attempts": self.attempts,
            **(several if len(self.kept) > 1 else {}),
        }


@dataclass(frozen=True)
class Specialiser:
    """What specialising needs besides budgets; many of them are served by one of these."""

    space: SearchSpace
    targets: Mapping[str, Target]  # by device
    evaluator: SubnetEvaluator
    dataset: Dataset
    limits: Limits
    available: bool = False  # do without blocks that no table prices
    seed: int = 0
    evaluations: int | None = None  # subnets that may be evaluated for a budget, besides those that are known
    report: Report = silent

    def specialise(self, budget_ms: Mapping[str, float]) -> Specialised:
        """The most accurate network found that is measured to meet the budget on each device.

        Candidates are measured until one takes most of a budget, or none that is more accurate is left. Raises
        InfeasibleError if the tables rule the budgets out, UntrustedError if no candidate kept them when measured, or
        if the exported file does not compute what the network does.
        """
        tried: list[Candidate] = []
        scored, loose, known = 0, False, len(self.evaluator.known)
        while len(tried) < ATTEMPTS and not _done(tried, loose=loose):
            needed = () if self.available else None
            models = {
                name: latency_model(target.table, self.space, needed=needed) for name, target in self.targets.items()
            }
            asked_ms = {name: self._limit_ms(name, ms, models[name], tried) for name, ms in budget_ms.items()}
            constraints = self.limits.constraints(self.space, models, asked_ms)
            loose = all(constraint.loose() for constraint in constraints.all[: len(asked_ms)])
            missed = [candidate.arch for candidate in tried if not candidate.keeps]
            left = None if self.evaluations is None else self.evaluations - (len(self.evaluator.known) - known)
            try:
                best = best_subnet(
                    self.space, constraints, self.evaluator, seed=self.seed, excluded=missed, evaluations=left,
                    report=self.report,
                )  # fmt: skip
            except InfeasibleError:
                if not tried:
                    raise
                break  # what was measured lets nothing else through
            scored += best.evaluations
            if any(candidate.arch == best.arch for candidate in tried):
                break  # it kept the budget, and nothing more accurate is expected to
            tried.append(self._candidate(best, models, budget_ms))
            self.report("candidates", len(tried) / ATTEMPTS, tried[-1].describe(len(tried)))
        self.report("candidates", 1.0, f"{len(tried)} measured")
        return self._chosen(tried, scored, budget_ms)

    def _candidate(
        self, best: BestSubnet, models: Mapping[str, LatencyModel], budget_ms: Mapping[str, float]
    ) -> Candidate:
        """What a subnet takes on each device, as the very file that would be shipped to it."""
        net = self.evaluator.subnet(best.arch)
        exports: dict[str, Exported] = {}  # by format: form and batch are those of all devices
        kept = {}
        for name, target in self.targets.items():
            format = target.profiler.format
            if format not in exports:
                exports[format] = self._export(net, format)
            measurement, raw_ms = self._measure(target, best.arch, exports[format].model)
            kept[name] = Kept(
                budget_ms=budget_ms[name],
                predicted_ms=self._predicted_ms(models[name].cost, best.arch),
                measurement=measurement,
                raw_ms=raw_ms,
            )
        return Candidate(arch=best.arch, accuracy=best.accuracy, net=net, exports=exports, kept=kept)

    def _chosen(self, tried: Sequence[Candidate], scored: int, budget_ms: Mapping[str, float]) -> Specialised:
        """The most accurate candidate that kept its budgets; raises UntrustedError if none did."""
        keeping = [candidate for candidate in tried if candidate.keeps]
        if not keeping:
            fastest = min(tried, key=lambda candidate: candidate.use)
            took_ms = {name: found.measurement.interval_ms[1] for name, found in fastest.kept.items()}
            measured = "1 candidate was" if len(tried) == 1 else f"{len(tried)} candidates were"
            raise UntrustedError(
                f"{measured} measured and none kept {_listed(budget_ms)} (the fastest took up to "
                f"{_listed(took_ms)}): profile again with --careful, or when it is less busy, or allow that much"
            )
        best = max(keeping, key=lambda candidate: candidate.accuracy)
        exported = next(iter(best.exports.values()))
        blocks = self.space.layers(best.arch).values()
        return Specialised(
            arch=best.arch,
            kept=best.kept,
            validation_accuracy=best.accuracy,
            accuracy=self.evaluator.test_accuracy(exported),
            macs=sum(block.macs for block in blocks),
            params=sum(block.params for block in blocks),
            evaluations=scored,
            max_difference=exported.max_difference,
            attempts=len(tried),
            models=(*(export.model for export in best.exports.values()), *self._other_files(best.net, best.exports)),
        )

    def _export(self, net: StaticNet, format: str) -> Exported:
        device = next(iter(self.targets.values())).profiler.device
        return export_proven(net, format, self.dataset, device.form, device.batch)

    def _other_files(self, net: StaticNet, exported: Collection[str]) -> Iterator[ModelFile]:
        """The network in the formats that were not measured, as far as their writers are installed."""
        for format in formats.names():
            if format not in exported:
                with suppress(DeviceError):
                    yield self._export(net, format).model

    def _limit_ms(self, name: str, budget_ms: float, model: LatencyModel, tried: Sequence[Candidate]) -> float:
        """What to ask of a device's model so that the measurement comes close to the budget and keeps it.

        At first one standard deviation of the model's own held-out error is left as room; then what the measured
        candidates took decides. A confidence that the user asked for is never given up.
        """
        confidence_pct = self.limits.confidence_pct
        cost = model.cost if confidence_pct is None else model.upper(confidence_pct)
        least_ms, _ = cost.least()
        if not tried:
            room = model.calibration.spread_pct if confidence_pct is None else 0.0
            # A least above the budget the search will find infeasible, and say by how much.
            return min(budget_ms, max(budget_ms / (1 + room / 100), least_ms))
        outcomes = [
            Outcome(self._predicted_ms(cost, candidate.arch), candidate.kept[name].measurement.interval_ms[1])
            for candidate in tried
        ]
        limit_ms = max(corrected_ms(budget_ms, outcomes), least_ms)
        return limit_ms if confidence_pct is None else min(limit_ms, budget_ms)

    def _predicted_ms(self, cost: Compiled, arch: Arch) -> float:
        return float(cost(self.space.row(arch)[None])[0])

    def _measure(self, target: Target, arch: Arch, model: ModelFile) -> tuple[Measurement, float]:
        """Time the very file that would be shipped; the table keeps the rounds as one more calibration net.

        Calibration nets are visited in turn with it, as when the table was made: alone it would find its weights in
        caches, or, after pauses, find them gone, and its time would mean something else than the table's do.
        """
        table, visits = target.table, list[Visit]()
        with table.writing():
            name = table.add_net(net_name(arch), self.space.layers(arch).values())
            company = [n for n in table.nets if n.startswith(net_name(self.space.name)) and n != name][:COMPANY]
            files = {name: model} | {n: _calibration_net(target, n) for n in company}
            earlier = {n: table.visits[n] for n in company if n in table.visits}
            table.add_state(target.profiler.state())
            for found in target.profiler.measure(files, FINAL_PLAN, earlier, table.calm_ms):
                table.add_round(found)
                if name not in found.visits:  # a round that the device did not finish
                    continue
                visits.append(found.visits[name])
                if len(visits) % ROUNDS_PER_REPORT == 0:
                    measurement = undisturbed(visits, table.calm_ms)
                    self.report("measure", min(len(visits) / FINAL_PLAN.min_samples, 0.99), str(measurement))
                    if measurement.converged(FINAL_PLAN):  # the company need not be
                        break
            table.add_state(target.profiler.state())
        measurement = undisturbed(visits, table.calm_ms)
        self.report("measure", 1.0, str(measurement))
        return measurement, float(np.median([visit.ms for visit in visits]))


def check_alike(devices: Mapping[str, Device]) -> None:
    """Raise InvalidInputError unless one net can be for all of these devices: one precision, one form, one batch."""
    kinds = {(device.form, device.batch) for device in devices.values()}
    if len(kinds) > 1:
        listed = ", ".join(f"{name} {d.precision} batch {d.batch}" for name, d in devices.items())
        raise InvalidInputError(
            f"one net cannot be for devices that want different files ({listed}): specialise for each"
        )


def _done(tried: Sequence[Candidate], *, loose: bool) -> bool:
    """Whether a candidate is kept, and a larger one could not take much more of the budget, or there is none."""
    return any(candidate.keeps and (loose or candidate.use >= ENOUGH) for candidate in tried)


def _calibration_net(target: Target, name: str) -> ModelFile:
    weights = random_weights(np.random.default_rng(0))
    blocks = [Block.parse(key) for key in target.table.nets[name]]
    return target.profiler.model(chain([(block, weights) for block in blocks], target.profiler.device.batch))


def _listed(ms: Mapping[str, float]) -> str:
    return ", ".join(f"{found:.4g} ms on {name}" for name, found in ms.items())
