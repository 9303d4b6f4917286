"""What was asked of a measurement (Plan) and what came out of it (Measurement).

Words, used the same everywhere:
    run       one execution of a model
    visit     a few runs of one model in a row, with runs of the sentinel just before and after
    sentinel  one small model, the same in every batch: it tells how fast the device is at that moment
    calm      a visit is calm if the sentinel beside it ran as fast as it ever does, and nothing preempted the visit
    round     one visit to every model of a batch, in shuffled order
    sample    what a calm visit says about a model, in ms
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain

import numpy as np

from profilers.errors import UnknownNameError

CONFIDENCE = 0.95
CALM_PERCENTILE = 5.0
CALM_TOLERANCE = 1.05  # a neighbour on the same core costs the sentinel 1.3 to 2; on its own it varies by 1 to 5 %
CALM_QUANTILE = 0.25
LEAST_CALM = 4
LEAST_BATCH = 100  # visits of a batch that can say how fast the device is at best


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to go on: until each model's interval is within `target_pct`, or a limit is reached."""

    target_pct: float  # half-width of the 95 % interval, as a percentage of the latency
    min_samples: int = 15  # fewer do not pin down both ends of a quartile's interval
    max_rounds: int = 500
    time_limit_s: float = 50.0  # for one batch of models; see `shuffled_rounds` for slow ones on a busy device
    warmup_runs: int = 10  # the first runs of a session are slow: memory is still being laid out
    visit_ms: float = 0.5  # a visit repeats short runs up to this long, so that a sample outlasts timer noise


PLANS = {
    "quick": Plan(target_pct=3.0, max_rounds=100, time_limit_s=20.0),
    "default": Plan(target_pct=1.0),
    "careful": Plan(target_pct=0.5, min_samples=30, max_rounds=2000, time_limit_s=600.0),
}


def plan_named(name: str) -> Plan:
    """The preset `name`; raises UnknownNameError."""
    if name not in PLANS:
        raise UnknownNameError("measuring plan", name, PLANS)
    return PLANS[name]


@dataclass(frozen=True)
class Visit:
    """The median run of a model in one round, and the slower of the sentinel's before and after it."""

    ms: float
    sentinel_ms: float
    preempted: bool = False  # every run of it was interrupted by the system for another program

    def calm(self, calm_ms: float) -> bool:
        """Whether nothing disturbed the device, on which the sentinel takes `calm_ms` at best."""
        return not self.preempted and self.sentinel_ms <= CALM_TOLERANCE * calm_ms


def calm_sentinel_ms(visits: Iterable[Visit]) -> float:
    """What the sentinel takes when nothing disturbs the device: a low percentile of all its readings."""
    return float(np.percentile([visit.sentinel_ms for visit in visits], CALM_PERCENTILE))


def calmest_batch_ms(batches: Iterable[Sequence[Visit]]) -> float:
    """The same of several batches of visits, by the calmest: during a whole batch a neighbour may never have gone.

    Batches of a few visits only count if there are no others: the fastest reading of a few may be luck.
    """
    batches = list(batches)
    large = [visits for visits in batches if len(visits) >= LEAST_BATCH]
    return min(map(calm_sentinel_ms, large)) if large else calm_sentinel_ms(chain.from_iterable(batches))


def undisturbed(visits: Sequence[Visit], calm_ms: float) -> "Measurement":
    """What `visits` say of a model on the undisturbed device, on which the sentinel takes `calm_ms`.

    A neighbour on the same physical core makes everything slower, by 1.3 to 2 times depending on the model, for 20 ms
    or for seconds: medians over such a mixture of two speeds settle on neither. So only calm visits count. Of these
    some were disturbed after all, between the sentinel's runs, which only ever adds time: their lower quartile is
    nearer to the undisturbed device than their median, and repeats better (docs/measurement.md has the figures).
    Calm visits are not scaled: what is reported is what the clock showed.

    Where too few visits were calm, the calmest quarter is scaled by the sentinel, for want of better: what slows the
    sentinel s times slows models between not at all and s² times (1.3 where it was 1.7, 1.7 where it was 1.3). The
    interval says so, and such a measurement never converges.
    """
    calm = [visit for visit in visits if visit.calm(calm_ms)]
    if len(calm) >= LEAST_CALM:
        return Measurement(tuple(visit.ms for visit in calm), CALM_QUANTILE)
    ordered = sorted(visits, key=lambda visit: (visit.preempted, visit.sentinel_ms))
    calmest = ordered[: max(LEAST_CALM, len(ordered) // 4)]
    slowed = statistics.median(visit.sentinel_ms for visit in calmest) / calm_ms
    scaled = tuple(visit.ms * calm_ms / visit.sentinel_ms for visit in calmest)
    return Measurement(scaled, CALM_QUANTILE, doubt=max(slowed, CALM_TOLERANCE))


def all_undisturbed(visits: Mapping[str, Sequence[Visit]]) -> dict[str, "Measurement"]:
    """What the visits of models that were measured together say of each, at the best pace of their sentinel."""
    calm_ms = calm_sentinel_ms(visit for of_one in visits.values() for visit in of_one)
    return {name: undisturbed(of_one, calm_ms) for name, of_one in visits.items()}


@dataclass(frozen=True)
class Measurement:
    """Samples in ms and the quantile of them that stands for all; every statistic is derived from these."""

    samples_ms: tuple[float, ...]
    quantile: float = 0.5
    doubt: float = 1.0  # factor by which all of them may be too long or too short; 1 if calm visits gave them

    def __post_init__(self) -> None:
        if not self.samples_ms or not all(0 < sample < float("inf") for sample in self.samples_ms):
            raise ValueError(f"samples must be positive times in ms, got {self.samples_ms}")

    @cached_property
    def latency_ms(self) -> float:
        """The quantile of the samples: the median, but for visits of a device the lower quartile."""
        return float(np.quantile(self.samples_ms, self.quantile))

    @cached_property
    def interval_ms(self) -> tuple[float, float]:
        """95 % interval of the quantile, whatever the samples' distribution: between two of the ordered samples.

        How many of n samples lie below the true quantile is binomial, which says between which ranks it lies with 95 %
        (David & Nagaraja 2003, section 7.1); interpolated between ranks. A bootstrap of the lower quartile of 10 to 40
        samples covers only 90 to 93 %. Where no calm visits gave the samples, `doubt` widens it at both ends.
        """
        ordered = np.sort(self.samples_ms)
        low, high = np.interp(_interval_ranks(len(ordered), self.quantile), np.arange(1, len(ordered) + 1), ordered)
        return float(low) / self.doubt, float(high) * self.doubt

    @property
    def calm_visits(self) -> int:
        """How many visits it rests on; none if the device was never calm."""
        return len(self.samples_ms) if self.doubt == 1 else 0

    @property
    def half_width_pct(self) -> float:
        """Half the interval's width, as a percentage of the latency."""
        low, high = self.interval_ms
        return 50 * (high - low) / self.latency_ms

    def converged(self, plan: Plan) -> bool:
        """Whether the plan's interval has been reached, on enough calm visits to believe it."""
        return self.calm_visits >= plan.min_samples and self.half_width_pct <= plan.target_pct

    def __str__(self) -> str:
        low, high = self.interval_ms
        return f"{self.latency_ms:.4g} ms [{low:.4g}, {high:.4g}] over {self.calm_visits} calm visits"


@cache
def _interval_ranks(n: int, quantile: float) -> tuple[float, float]:
    """Ranks from 1 to n, with fractions, between which the quantile of what n samples are drawn from lies."""
    odds = np.log([quantile, 1 - quantile])
    below = np.arange(n + 1)
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in below]
    shares = np.exp(np.array(logs) + below * odds[0] + (n - below) * odds[1])  # of k samples below it
    cumulative = np.concatenate([[0.0], np.cumsum(shares)])  # that it is below the sample of rank 0, 1, …
    tail = (1 - CONFIDENCE) / 2
    low, high = np.interp([tail, 1 - tail], cumulative, np.arange(n + 2))
    return max(float(low), 1.0), min(float(high), float(n))
