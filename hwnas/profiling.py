"""Profiling: measure every block of a space, and the whole nets it is calibrated on, into a device's table."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hwnas.pricing import evenly_spread, net_name
from hwnas.progress import Report, silent
from hwnas.space import SearchSpace
from lut.blocks import Block, Linear, chain
from lut.calibration import Calibration
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers.errors import FailedModelsError
from profilers.formats import ModelFile
from profilers.graph import Graph
from profilers.measurement import Plan
from profilers.profiler import Profiler
from profilers.state import State

CALIBRATION_NETS = 16
COMPANY = 12  # blocks that are visited in turn at least, so that each finds in caches what it finds in a whole profile
BATCH_MODELS = 128  # sessions held open at once; bounds the memory that a large space takes


@dataclass(frozen=True, kw_only=True)
class ProfileSummary:
    """What a call to `profile` did and how good the table is now."""

    blocks: int
    models: int  # blocks and the nets of the calibration
    measured: int  # models that were still wanting when the call began
    unconverged: tuple[str, ...]
    calm_pct: float  # of this call's visits, those that nothing disturbed; the others were repeated
    stolen_s: float  # processor time that a hypervisor gave to others meanwhile, as far as it tells
    calibration: Calibration
    seconds: float
    blocks_s: float  # of these, what blocks took; the rest went into whole nets
    writing_s: float  # and what it took to write model files


def profile(
    space: SearchSpace, profiler: Profiler, table: LatencyTable, plan: Plan, report: Report = silent
) -> ProfileSummary:
    """Measure what `table` still lacks of `space` until the plan is satisfied, keeping every round at once.

    Whatever was measured before counts, also by a run that was killed. Raises DeviceError when the device fails, and
    FailedModelsError, when all others are measured, for models that its runtime cannot run.
    """
    started, blocks_s, writing_s, failed = time.monotonic(), 0.0, 0.0, dict[str, str]()
    known, states = {name: len(visits) for name, visits in table.visits.items()}, len(table.states)
    with table.writing():  # also while nets are named: that appends to the table, too
        models = _models(space, table, profiler.device.batch)
        wanted = table.pending(models, plan)
        np.random.default_rng(0).shuffle(wanted)  # so that each batch is a mixture of cheap and dear
        # Whole nets among themselves, as finished nets are measured: among blocks their weights stay in caches longer,
        # and large ones seem 1.5 % faster. Those that need no more rounds are there for company.
        blocks = [name for name in wanted if name not in table.nets]
        if 0 < len(blocks) < COMPANY:  # a head for other classes, say: alone it would find its weights in caches
            blocks += [name for name in models if name not in (*blocks, *table.nets)][: COMPANY - len(blocks)]
        nets = [name for name in models if name in table.nets] if len(blocks) < len(wanted) else []
        for kind in (blocks, nets):
            for first in range(0, len(kind), BATCH_MODELS):
                begun = time.monotonic()
                batch = {
                    name: profiler.model(models[name](), inner=name not in table.nets)
                    for name in kind[first : first + BATCH_MODELS]
                }
                writing_s += time.monotonic() - begun
                try:
                    measure_batch(profiler, table, plan, batch, report)
                except FailedModelsError as error:
                    failed |= error.models
            blocks_s = blocks_s or time.monotonic() - started
        if failed:
            raise FailedModelsError(profiler.device.name, failed)
        prefix = net_name(space.name)
        calibration = table.add_calibration(prefix) if wanted else table.calibration(prefix)
    new = [visit for name, visits in table.visits.items() for visit in visits[known.get(name, 0) :]]
    return ProfileSummary(
        blocks=len(space.vocabulary),
        models=len(models),
        measured=len(wanted),
        unconverged=tuple(name for name in models if (m := table.measurement(name)) and not m.converged(plan)),
        stolen_s=stolen_s(table.states[states:]),
        calm_pct=100 * sum(visit.calm(table.calm_ms) for visit in new) / max(len(new), 1),
        calibration=calibration,
        seconds=time.monotonic() - started,
        blocks_s=blocks_s,
        writing_s=writing_s,
    )


def measure_batch(
    profiler: Profiler, table: LatencyTable, plan: Plan, files: dict[str, ModelFile], report: Report
) -> None:
    """Measure models until the plan is satisfied, keeping every round, and the device's state before and after."""
    earlier = {name: table.visits[name] for name in files if name in table.visits}
    table.add_state(profiler.state())
    begun, most, counts = time.monotonic(), 0.0, Counter[str](dict.fromkeys(files, 0))
    for done, found in enumerate(profiler.measure(files, plan, earlier, table.calm_ms), 1):
        table.add_round(found)
        counts.update(found.visits.keys())
        # Whichever is nearest to ending it: the time (which slow devices overrun), the rounds, or narrow intervals.
        spent = min((time.monotonic() - begun) / plan.time_limit_s, min(counts.values()) / plan.min_samples)
        most = max(most, spent, done / plan.max_rounds, 1 - len(found.pending) / len(files))
        report("profile", min(most, 0.99), f"{len(found.pending)} of {len(files)} intervals still wide")
    table.add_state(profiler.state())
    report("profile", 1.0, f"{len(files)} models")


def stolen_s(states: Sequence[State]) -> float:
    """What a hypervisor took away between the first and the last of these; 0 where nobody tells."""
    told = [float(state["stolen_s"]) for state in states if "stolen_s" in state]
    return max(told[-1] - told[0], 0.0) if told else 0.0


def _models(space: SearchSpace, table: LatencyTable, batch: int) -> dict[str, Callable[[], Graph]]:
    """Everything to measure, by its name in the table; a graph is built only when its turn comes."""
    weights = random_weights(np.random.default_rng(0))
    models: dict[str, Callable[[], Graph]] = {}
    for block in space.vocabulary:
        models[block.key] = partial(chain, [(block, weights)], batch)
    for name, blocks in _calibration_nets(space, table).items():
        models[name] = partial(chain, [(block, weights) for block in blocks], batch)
    return models


def _calibration_nets(space: SearchSpace, table: LatencyTable) -> dict[str, list[Block]]:
    """The whole nets that calibrate a space, by their names in the table.

    Calibration is about blocks, not about heads: a table that has been calibrated for the space with another number of
    classes needs no further nets.
    """
    archs = [space.arch(row) for row in evenly_spread(space, CALIBRATION_NETS, np.random.default_rng(0))]
    nets = [list(space.layers(arch).values()) for arch in archs]
    if any(table.nets.get(net_name(a)) != tuple(b.key for b in net) for a, net in zip(archs, nets, strict=True)):
        others = _nets_of_other_classes(space, table)
        sizes = {blocks[0].hw for blocks in others.values()}
        if len(others) >= CALIBRATION_NETS and sizes >= set(space.resolutions):
            return others
    return {table.add_net(net_name(arch), net): net for arch, net in zip(archs, nets, strict=True)}


def _nets_of_other_classes(space: SearchSpace, table: LatencyTable) -> dict[str, list[Block]]:
    """The measured nets of a table that are the space's own but for the number of classes."""
    body = {block.key for block in space.vocabulary if not isinstance(block, Linear)}
    found = {}
    for name, keys in table.nets.items():
        if name.startswith(net_name(space.name)) and name in table.visits and body.issuperset(keys[:-1]):
            blocks = [Block.parse(key) for key in keys]
            if isinstance(blocks[-1], Linear) and blocks[-1].out_chs != space.classes:
                found[name] = blocks
    return found
