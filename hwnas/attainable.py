"""What is attainable: the least and the greatest that networks of a space can take, exactly, and who fits a budget."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from hwnas import costs
from hwnas.pricing import latency_model
from hwnas.space import SearchSpace
from hwnas.spaces import names, open_space
from lut.blocks import Block, chain
from lut.compiled import Compiled
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers.errors import DeviceError, HwnasError
from profilers.measurement import Plan, all_undisturbed
from profilers.profiler import Profiler

FAR_ABOVE = 2.0  # times the largest network: a budget for which another space is worth a line
FIRST_LOOK = Plan(target_pct=10.0, min_samples=5, max_rounds=10, time_limit_s=3.0)


@dataclass(frozen=True)
class Range:
    """The least and the greatest cost of any network."""

    least: float
    greatest: float

    @classmethod
    def of(cls, cost: Compiled) -> "Range":
        """Both ends, exact, by eliminating one dimension after the other."""
        return cls(cost.least()[0], cost.greatest())


@dataclass(frozen=True)
class Estimate:
    """A space that may fit a budget, and what its networks should take in ms, scaled by MACs."""

    space: SearchSpace
    latency_ms: Range


def latency_ranges(table: LatencyTable) -> dict[SearchSpace, Range]:
    """For each space of which the table has whole networks, and all blocks, what they take in ms."""
    found = {}
    for space in _spaces_of(table):
        with suppress(HwnasError):  # it was not profiled to the end, or with other choices
            found[space] = Range.of(latency_model(table, space).cost)
    return found


def _spaces_of(table: LatencyTable) -> list[SearchSpace]:
    """The spaces of the table's whole networks, with the resolutions and classes that these have."""
    resolutions: dict[tuple[str, int], set[int]] = {}
    for name, keys in table.nets.items():
        with suppress(HwnasError, ValueError, IndexError):
            space, _, choices = name.removeprefix("net ").partition(":")
            found = resolutions.setdefault((space, Block.parse(keys[-1]).out_chs), set())
            found.add(int(choices.split("-")[0]))
    opened = []
    for (space, classes), sizes in resolutions.items():
        with suppress(HwnasError):  # a space of somebody else's
            opened.append(open_space(space, resolutions=tuple(sizes), classes=classes))
    return opened


def measured_range(profiler: Profiler, space: SearchSpace) -> Range:
    """What the smallest and the largest network take in ms, measured in a few seconds: a first look, and no more.

    Raises DeviceError if the device fails.
    """
    weights = random_weights(np.random.default_rng(0))
    ends = {
        str(arch): profiler.model(
            chain([(block, weights) for block in space.layers(arch).values()], profiler.device.batch)
        )
        for arch in (space.smallest, space.largest)
    }
    visits = profiler.visits(ends, FIRST_LOOK)
    if not all(visits.values()):
        raise DeviceError(f"{profiler.device.name} did not run the smallest and the largest network in time")
    found = [measured.latency_ms for measured in all_undisturbed(visits).values()]
    return Range(min(found), max(found))


def fitting(budget_ms: float, space: SearchSpace, latency_ms: Range) -> list[Estimate]:
    """Other spaces with networks for the budget; the one whose largest network is nearest to it first.

    By their range of MACs, scaled by what the device takes for a MAC between the smallest and the largest network of
    `space`, which take `latency_ms`: an estimate, for which nothing is measured.
    """
    macs = Range.of(costs.macs(space))
    ms_per_mac = (latency_ms.greatest - latency_ms.least) / max(macs.greatest - macs.least, 1.0)
    found = []
    for name in names():
        if name != space.name.partition("@")[0]:
            other = open_space(name)
            there = Range.of(costs.macs(other))
            scaled = Range(there.least * ms_per_mac, there.greatest * ms_per_mac)
            if latency_ms.greatest < scaled.greatest and scaled.least <= budget_ms:
                found.append(Estimate(other, scaled))
    return sorted(found, key=lambda one: abs(min(one.latency_ms.greatest / budget_ms, 1.0) - 1.0))


def advice(
    budgets_ms: Mapping[str, float],
    space: SearchSpace,
    latencies_ms: Mapping[str, Range],
    command: Callable[[SearchSpace], str],
) -> str:
    """One line where every device's budget is far above the space's largest network; empty where one is not.

    `command` gives what to type for another space, "" for nothing.
    """
    largest = {name: latencies_ms[name].greatest for name in budgets_ms}
    if not budgets_ms or any(limit_ms < FAR_ABOVE * largest[name] for name, limit_ms in budgets_ms.items()):
        return ""
    name, limit_ms = next(iter(budgets_ms.items()))
    told = (
        f"{limit_ms:.4g} ms is {limit_ms / largest[name]:.0f} times what the largest network of {space.name} takes on "
        f"{name} ({largest[name]:.3g} ms), and a larger space may do better"
    )
    others = fitting(limit_ms, space, latencies_ms[name])
    if not others:
        return told
    estimates = ", ".join(
        f"{one.space.name} (about {one.latency_ms.least:.2g} to {one.latency_ms.greatest:.2g} ms)" for one in others[:3]
    )
    typed = command(others[0].space)
    return f"{told}: by their MACs, an estimate, the budget fits {estimates}" + (f"; type: {typed}" if typed else "")
