"""The headline: a net is handed over only if the upper end of its measured interval is within the budget."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from hwnas.search.subnets import BestSubnet
from hwnas.spaces import open_space
from profilers.local import LocalProfiler
from profilers.measurement import CALM_QUANTILE, Measurement, Plan, Visit
from profilers.rounds import Round

DIGITS = open_space("digits")
ROUNDS = 60
CALM_MS = 1e-6  # no real sentinel is as fast: every visit of a finished net counts, however busy the machine
GOLDEN = 0.6180339887498949  # multiples of it, without their whole part, fill a range evenly from the beginning

NARROW, STRADDLING, ON_THE_EDGE, BEYOND = (0.95, 0.99), (0.92, 1.2), (1.0, 1.0), (1.0 + 1e-9, 1.0 + 1e-9)
"""Where the times of a finished net lie, in budgets. STRADDLING: the quartile is within, its interval's end is not."""

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


@dataclass
class Scripted:
    """What devices show of the nets that are to be handed over, one after the other; all else is as measured."""

    times: dict[str, list[tuple[float, float]]]  # by device, lowest and highest in ms
    seen: list[tuple[str, bytes, Measurement]] = field(default_factory=list)  # device, file, what it was shown to take

    def measure(self, real, profiler, models, plan, earlier, calm_ms) -> Iterator[Round]:
        (finished,) = models.keys() - earlier.keys()
        low, high = self.times[profiler.device.name].pop(0)
        samples = []
        try:
            for number, found in enumerate(real(profiler, models, plan, earlier, calm_ms)):
                samples.append(low + (high - low) * (number * GOLDEN % 1))
                yield replace(found, visits={**found.visits, finished: Visit(samples[-1], sentinel_ms=CALM_MS)})
        finally:
            measurement = Measurement(tuple(samples), CALM_QUANTILE)
            self.seen.append((profiler.device.name, models[finished].content, measurement))


def slowest_within(space, constraints, judge, **_) -> BestSubnet:
    """In place of the search: of a thousand architectures the slowest that meets the constraints."""
    rows = space.sample(1000, np.random.default_rng(0))
    rows = rows[constraints.met(rows)]
    return BestSubnet(space.arch(rows[constraints.all[0].cost(rows).argmax()]), 0.5, 1, None)


@pytest.fixture
def budget(model) -> float:
    least, _ = model.least()
    largest = float(model.latency_ms(DIGITS.row(DIGITS.largest)[None])[0])
    return round(least + 0.4 * (largest - least), 4)


@pytest.fixture
def scripted(budget, monkeypatch):
    def begin(**shares: list[tuple[float, float]]) -> Scripted:
        script = Scripted({name: [(low * budget, high * budget) for low, high in of] for name, of in shares.items()})
        real = LocalProfiler.measure
        monkeypatch.setattr("hwnas.specialize.best_subnet", slowest_within)
        monkeypatch.setattr(LocalProfiler, "measure", lambda *given: script.measure(real, *given))
        monkeypatch.setattr("hwnas.specialize.FINAL_PLAN", Plan(target_pct=0.5, min_samples=ROUNDS, max_rounds=ROUNDS))
        return script

    return begin


@pytest.fixture
def specialize(hwnas, workspace, table, budget):
    def run(*devices: str):
        (workspace / "devices.toml").write_text('[twin]\nruntime = "fake"\n')
        (table.parent / "twin-fake-fp32-t1-b1.jsonl").write_bytes(table.read_bytes())
        asked = ",".join(f"{name}={budget:.4f}ms" for name in devices)
        return hwnas("specialize", "--latency", asked, "--runtime", "fake", "--workspace", workspace, "--json")

    return run


def test_a_point_estimate_within_the_budget_is_not_enough(scripted, specialize, budget):
    script = scripted(host=[STRADDLING, NARROW])
    done = specialize("host")
    assert done.code == 0, done.err
    (_, refused, first), (_, accepted, second) = script.seen
    assert first.latency_ms < budget < first.interval_ms[1]
    assert done.only["attempts"] == 2 and refused != accepted
    assert done.only["interval_ms"] == list(second.interval_ms) and second.interval_ms[1] <= budget
    assert (Path(done.only["bundle"]) / "model.onnx").read_bytes() == accepted


def test_a_net_that_keeps_the_budget_on_one_device_only_is_not_accepted(scripted, specialize, budget):
    script = scripted(host=[NARROW, NARROW, NARROW], twin=[STRADDLING, NARROW, NARROW])
    done = specialize("host", "twin")
    assert done.code == 0 and done.only["attempts"] == 2, done.err
    assert [name for name, *_ in script.seen] == ["host", "twin"] * 2
    assert script.seen[1][2].latency_ms < budget < script.seen[1][2].interval_ms[1]
    assert all(found["interval_ms"][1] <= budget for found in done.only["devices"])


@pytest.mark.parametrize(("last", "attempts"), [(ON_THE_EDGE, 1), (BEYOND, 2)])
def test_the_budget_itself_is_within_and_nothing_above_it(scripted, specialize, last, attempts):
    scripted(host=[last, NARROW])
    done = specialize("host")
    assert done.code == 0 and done.only["attempts"] == attempts, done.err


def test_where_no_upper_end_is_within_nothing_is_handed_over(scripted, specialize, workspace):
    scripted(host=[STRADDLING] * 50)
    done = specialize("host")
    assert done.code == 5 and "none kept" in done.complaint
    assert not [found for found in workspace.rglob("*") if found.name in ("model.onnx", "bundle.json")]
