"""Profiling a device like others: a few whole nets measured on it, and the rest learned from the others' tables.

The nets are chosen before any is measured: those that tell most about all others (`lut.transfer`). Each time more of
them are measured, what was transferred is made anew from all.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from hwnas.arch import Population
from hwnas.pricing import latency_model, net_name
from hwnas.profiling import measure_batch
from hwnas.progress import Report, silent
from hwnas.space import SearchSpace
from lut.blocks import Block, chain
from lut.compiled import Floats
from lut.layers import random_weights
from lut.parts import block_quantities
from lut.table import LatencyTable
from lut.transfer import Prior
from lut.transferred import Transferred
from profilers.errors import InvalidInputError
from profilers.measurement import Plan
from profilers.profiler import Profiler

OFFERED = 1000  # nets that may be chosen, and that are to be predicted well
LEAST_SHARE = 0.01  # of a typical block, which no source's block adds less than: a calibration may take off more
LEAST_SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class TransferSummary:
    """What a call to `profile_like` measured, and how far off the transferred table is."""

    blocks: int
    samples: int  # whole nets, of this and of earlier calls
    measured: int  # of them in this call
    found: Transferred
    seconds: float


def profile_like(
    space: SearchSpace,
    profiler: Profiler,
    table: LatencyTable,
    sources: Mapping[str, LatencyTable],
    samples: int,
    plan: Plan,
    report: Report = silent,
) -> TransferSummary:
    """Measure whole nets until `table` has `samples` of them, and fill in all blocks from what `sources` know.

    Raises InvalidInputError where a source lacks blocks of the space, or for fewer than 3 samples.
    """
    if samples < LEAST_SAMPLES:
        raise InvalidInputError(f"{samples} samples tell too little of a device: measure at least {LEAST_SAMPLES}")
    started, prefix = time.monotonic(), net_name(space.name)
    parts = tuple(space.vocabulary)
    prior = Prior.learn(
        np.array([block_quantities(block) for block in parts]),
        np.stack([_added_ms(source, space) for source in sources.values()], axis=1),
    )
    offered = space.sample(OFFERED, np.random.default_rng(0))
    counts = _counts(space, offered, parts)
    chosen = offered[prior.choose(counts, samples, counts)]
    weights = random_weights(np.random.default_rng(0))
    with table.writing():
        models = {}
        for arch in map(space.arch, chosen):
            blocks = list(space.layers(arch).values())
            name = table.add_net(net_name(arch), blocks)
            models[name] = partial(chain, [(block, weights) for block in blocks], profiler.device.batch)
        wanted = table.pending(models, plan)
        if wanted:
            measure_batch(profiler, table, plan, {n: profiler.model(models[n]()) for n in models}, report)
        keys = {block.key for block in parts}
        names = [n for n, net in table.nets.items() if n.startswith(prefix) and n in table.visits and keys >= set(net)]
        found = _transferred(prior, parts, table, names, tuple(sources))
        table.add_transfer(prefix, found)
    return TransferSummary(
        blocks=len(parts),
        samples=len(names),
        measured=len(wanted),
        found=found,
        seconds=time.monotonic() - started,
    )


def _added_ms(table: LatencyTable, space: SearchSpace) -> Floats:
    """What every block of the space adds to a network, by one source, in ms; the constant goes to stems."""
    model = latency_model(table, space)
    added: dict[Block | None, float] = {}
    for slot, (_, costs) in zip(space.factors, model.cost.factors[-len(space.factors) :], strict=True):
        added |= dict(zip(slot.blocks.flat, costs.flat, strict=True))
    stems = set(space.factors[0].blocks.flat)
    found = np.array([added[b] + model.calibration.constant_ms * (b in stems) for b in space.vocabulary])
    return np.asarray(np.maximum(found, LEAST_SHARE * found.mean()))


def _counts(space: SearchSpace, population: Population, parts: tuple[Block, ...]) -> Floats:
    """How often each of n architectures has each part, (n, parts)."""
    place = {block: number for number, block in enumerate(parts)}
    counts = np.zeros((len(population), len(parts)))
    for row, arch in zip(counts, map(space.arch, population), strict=True):
        for block in space.layers(arch).values():
            row[place[block]] += 1
    return counts


def _transferred(
    prior: Prior, parts: tuple[Block, ...], table: LatencyTable, names: list[str], sources: tuple[str, ...]
) -> Transferred:
    """The parts' times after all nets that were measured, and how far off each net is without itself."""
    place = {block.key: number for number, block in enumerate(parts)}
    counts = np.zeros((len(names), len(parts)))
    for row, name in zip(counts, names, strict=True):
        for key in table.nets[name]:
            row[place[key]] += 1
    measured = np.array([m.latency_ms for name in names if (m := table.measurement(name))])
    errors = []
    for out in range(len(names)):
        kept = np.arange(len(names)) != out
        predicted = prior.update(counts[kept], measured[kept]).latency_ms(counts[out : out + 1])
        errors.append(float(100 * (predicted[0] / measured[out] - 1)))
    ms = prior.update(counts, measured).latency_ms(np.eye(len(parts)))
    return Transferred(sources, {block.key: float(ms[i]) for i, block in enumerate(parts)}, tuple(errors))
