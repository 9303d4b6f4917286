"""Specialise: from a budget to a bundle, with the device having the last word.

Search proposes, the device disposes: an architecture is accepted only if the upper end of its measured interval is
within the budget. What a miss teaches goes into the calibration, and the search runs again.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwnas.arch import Arch
from hwnas.export.proven import Exported, export_proven
from hwnas.nets.static import StaticNet
from hwnas.pricing import latency_model, net_name
from hwnas.progress import Report, silent
from hwnas.search.limits import Limits
from hwnas.search.subnets import best_subnet
from hwnas.space import SearchSpace
from hwnas.training.datasets import Dataset
from hwnas.training.evaluate import SubnetEvaluator
from lut.blocks import Block, chain
from lut.latency_model import LatencyModel
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers import formats
from profilers.device import Device
from profilers.errors import DeviceError, InvalidInputError, UntrustedError
from profilers.formats import ModelFile
from profilers.measurement import Measurement, Plan, Visit, undisturbed
from profilers.profiler import Profiler

ATTEMPTS = 5
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
        }


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
    seed: int = 0
    report: Report = silent

    def specialise(self, budget_ms: Mapping[str, float]) -> Specialised:
        """The most accurate net that is measured to meet the budget on each device.

        Raises InfeasibleError if the tables rule the budgets out, UntrustedError if no candidate kept them when
        measured, or if the exported file does not compute what the net does.
        """
        misses: list[tuple[Arch, dict[str, float]]] = []
        for attempt in range(1, ATTEMPTS + 1):
            models = {name: latency_model(target.table, self.space) for name, target in self.targets.items()}
            asked_ms = {
                name: self._limit_ms(limit_ms, models[name], [(arch, upper_ms[name]) for arch, upper_ms in misses])
                for name, limit_ms in budget_ms.items()
            }
            constraints = self.limits.constraints(self.space, models, asked_ms)
            best = best_subnet(self.space, constraints, self.evaluator, seed=self.seed, report=self.report)
            net = self.evaluator.subnet(best.arch)
            exported = self._export(net, next(iter(self.targets.values())).profiler.format)
            kept = {name: self._kept(name, best.arch, net, models[name], budget_ms[name]) for name in self.targets}
            if all(found.measurement.interval_ms[1] <= found.budget_ms for found in kept.values()):
                blocks = self.space.layers(best.arch).values()
                return Specialised(
                    arch=best.arch,
                    kept=kept,
                    validation_accuracy=best.accuracy,
                    accuracy=self.evaluator.test_accuracy(exported),
                    macs=sum(block.macs for block in blocks),
                    params=sum(block.params for block in blocks),
                    evaluations=best.evaluations,
                    max_difference=exported.max_difference,
                    attempts=attempt,
                    models=(exported.model, *self._other_files(net, exported.model.format)),
                )
            misses.append((best.arch, {name: found.measurement.interval_ms[1] for name, found in kept.items()}))
        raise UntrustedError(
            f"{ATTEMPTS} candidates were measured and none kept {_listed(budget_ms)} (the last took up to "
            f"{_listed(misses[-1][1])}): profile again with --careful, or when it is less busy"
        )

    def _kept(self, name: str, arch: Arch, net: StaticNet, model: LatencyModel, budget_ms: float) -> Kept:
        """What the net takes on one device, as the very file that would be shipped to it."""
        target = self.targets[name]
        exported = self._export(net, target.profiler.format)
        measurement, raw_ms = self._measure(target, arch, exported.model)
        return Kept(
            budget_ms=budget_ms,
            predicted_ms=self._predicted_ms(model, arch),
            measurement=measurement,
            raw_ms=raw_ms,
        )

    def _export(self, net: StaticNet, format: str) -> Exported:
        device = next(iter(self.targets.values())).profiler.device
        return export_proven(net, format, self.dataset, device.form, device.batch)

    def _other_files(self, net: StaticNet, measured: str) -> Iterator[ModelFile]:
        """The net in the formats that were not measured first, as far as their writers are installed."""
        for format in formats.names():
            if format != measured:
                with suppress(DeviceError):
                    yield self._export(net, format).model

    def _limit_ms(self, budget_ms: float, model: LatencyModel, misses: list[tuple[Arch, float]]) -> float:
        """What to ask of the model so that the measurement keeps the budget.

        Unless the user asks for a confidence, one standard deviation of the model's own held-out error is left as room;
        and where a candidate missed, the model is taken to be wrong by as much for its neighbours, too.
        """
        least_ms, _ = model.least()
        if least_ms > budget_ms:
            return budget_ms  # which the search will find infeasible, and say by how much
        room = model.calibration.spread_pct if self.limits.confidence_pct is None else 0.0
        limit = budget_ms / (1 + room / 100)
        for arch, upper_ms in misses:
            limit = min(limit, budget_ms * self._predicted_ms(model, arch) / upper_ms)
        return max(limit, least_ms)

    def _predicted_ms(self, model: LatencyModel, arch: Arch) -> float:
        return float(model.latency_ms(self.space.row(arch)[None])[0])

    def _measure(self, target: Target, arch: Arch, model: ModelFile) -> tuple[Measurement, float]:
        """Time the very file that would be shipped; the table keeps the rounds as one more calibration net.

        Calibration nets are visited in turn with it, as when the table was made: alone it would find its weights in
        caches, or, after pauses, find them gone, and its time would mean something else than the table's do.
        """
        table, name, visits = target.table, net_name(arch), list[Visit]()
        with table.writing():
            company = [n for n in table.nets if n.startswith(net_name(self.space.name)) and n != name][:COMPANY]
            files = {name: model} | {n: _calibration_net(target, n) for n in company}
            earlier = {n: table.visits[n] for n in company if n in table.visits}
            table.add_net(name, self.space.layers(arch).values())
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


def _calibration_net(target: Target, name: str) -> ModelFile:
    weights = random_weights(np.random.default_rng(0))
    blocks = [Block.parse(key) for key in target.table.nets[name]]
    return target.profiler.model(chain([(block, weights) for block in blocks], target.profiler.device.batch))


def _listed(ms: Mapping[str, float]) -> str:
    return ", ".join(f"{found:.4g} ms on {name}" for name, found in ms.items())
