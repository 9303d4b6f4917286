"""What is attainable: the least and the greatest that networks of a space can take, exactly, and who fits a budget."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from hwnas import costs
from hwnas.pricing import latency_model
from hwnas.space import SearchSpace
from hwnas.spaces import names, open_space
from lut.blocks import Block
from lut.compiled import Compiled
from lut.latency_model import LatencyModel
from lut.table import LatencyTable
from profilers.errors import HwnasError

FAR_ABOVE = 2.0  # times the largest network: a budget for which another space is worth a line


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


def fitting(budget_ms: float, space: SearchSpace, model: LatencyModel) -> list[Estimate]:
    """Other spaces with networks for the budget; the one whose largest network is nearest to it first.

    By their range of MACs, scaled by what the device takes for a MAC between the smallest and the largest network of
    `space`: an estimate, for which nothing is measured.
    """
    macs, latency = Range.of(costs.macs(space)), Range.of(model.cost)
    ms_per_mac = (latency.greatest - latency.least) / max(macs.greatest - macs.least, 1.0)
    found = []
    for name in names():
        if name != space.name.partition("@")[0]:
            other = open_space(name)
            there = Range.of(costs.macs(other))
            scaled = Range(there.least * ms_per_mac, there.greatest * ms_per_mac)
            if latency.greatest < scaled.greatest and scaled.least <= budget_ms:
                found.append(Estimate(other, scaled))
    return sorted(found, key=lambda one: abs(min(one.latency_ms.greatest / budget_ms, 1.0) - 1.0))


def advice(budgets_ms: Mapping[str, float], space: SearchSpace, models: Mapping[str, LatencyModel]) -> str:
    """One line where every device's budget is far above the space's largest network; empty where one is not."""
    largest = {name: models[name].cost.greatest() for name in budgets_ms}
    if not budgets_ms or any(limit_ms < FAR_ABOVE * largest[name] for name, limit_ms in budgets_ms.items()):
        return ""
    name, limit_ms = next(iter(budgets_ms.items()))
    told = (
        f"{limit_ms:.4g} ms is {limit_ms / largest[name]:.0f} times what the largest network of {space.name} takes on "
        f"{name} ({largest[name]:.3g} ms), and a larger space may do better"
    )
    others = fitting(limit_ms, space, models[name])
    if not others:
        return told
    estimates = ", ".join(
        f"{one.space.name} (about {one.latency_ms.least:.2g} to {one.latency_ms.greatest:.2g} ms)" for one in others[:3]
    )
    return (
        f"{told}: by their MACs, an estimate, the budget fits {estimates}; "
        f"type: hwnas specialize --space {others[0].space.name} --data imagefolder:FOLDER --latency {limit_ms:.6g}ms"
    )
