"""What was asked of a measurement (Plan) and what came out of it (Measurement).

Words, used the same everywhere:
    run       one execution of a model
    visit     a few runs of one model in a row, with runs of the sentinel just before and after
    sentinel  one small model, the same in every batch: it tells how fast the device is at that moment
    calm      a visit is calm if the sentinel beside it ran as fast as it ever does on the device
    round     one visit to every model of a batch, in shuffled order
    sample    what a calm visit says about a model, in ms
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from profilers.errors import UnknownNameError

CONFIDENCE = 0.95
RESAMPLES = 1000
SHARED_DRAWS = 512  # samples up to which one table of random draws serves all intervals
CALM_PERCENTILE = 5.0
CALM_TOLERANCE = 1.03  # the sentinel's own jitter on an undisturbed CPU is below 1 %
LEAST_CALM = 8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to go on: until each model's interval is within `target_pct`, or a limit is reached."""

    target_pct: float  # half-width of the 95 % interval, as a percentage of the median
    min_samples: int = 10
    max_rounds: int = 200
    time_limit_s: float = 60.0  # for one batch of models
    warmup_runs: int = 10  # the first runs of a session are slow: memory is still being laid out
    visit_ms: float = 1.0  # a visit repeats short runs up to this long, so that a sample outlasts timer noise


PLANS = {
    "quick": Plan(target_pct=3.0, max_rounds=60, time_limit_s=20.0),
    "default": Plan(target_pct=1.0),
    "careful": Plan(target_pct=0.5, min_samples=30, max_rounds=800, time_limit_s=600.0),
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


def calm_sentinel_ms(visits: Iterable[Visit]) -> float:
    """What the sentinel takes when nothing disturbs the device: a low percentile of all its readings."""
    return float(np.percentile([visit.sentinel_ms for visit in visits], CALM_PERCENTILE))


def undisturbed(visits: Sequence[Visit], calm_ms: float) -> "Measurement":
    """What `visits` say of a model on the undisturbed device, on which the sentinel takes `calm_ms`.

    A neighbour on the same physical core makes everything slower, by 1.3 to 1.75 times depending on the model, for
    20 ms or for seconds: medians over such a mixture of two speeds settle on neither. So only calm visits count;
    on a shared machine that was calm a third of the time, this took intervals from ±4.3 % to ±0.2 %. Where too
    few visits were calm, the calmest quarter is scaled by the sentinel, and the interval says what that is worth.
    Calm visits are not scaled: their median is what the clock showed.
    """
    ordered = sorted(visits, key=lambda visit: visit.sentinel_ms)
    calm = sum(visit.sentinel_ms <= CALM_TOLERANCE * calm_ms for visit in ordered)
    if calm >= LEAST_CALM:
        return Measurement(tuple(visit.ms for visit in ordered[:calm]))
    calmest = ordered[: max(LEAST_CALM, len(ordered) // 4)]
    return Measurement(tuple(visit.ms * calm_ms / visit.sentinel_ms for visit in calmest))


@dataclass(frozen=True)
class Measurement:
    """Samples in ms; every statistic is derived from them."""

    samples_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples_ms or not all(0 < sample < float("inf") for sample in self.samples_ms):
            raise ValueError(f"samples must be positive times in ms, got {self.samples_ms}")

    @cached_property
    def median_ms(self) -> float:
        """Median over samples: robust against runs that were preempted."""
        return float(np.median(self.samples_ms))

    @cached_property
    def interval_ms(self) -> tuple[float, float]:
        """95 % percentile-bootstrap interval of the median over samples (Efron & Tibshirani 1993, 13.3)."""
        samples = np.asarray(self.samples_ms)
        medians = np.median(samples[_resamples(len(samples))], axis=1)
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(medians, [tail, 1 - tail])
        return float(low), float(high)

    @property
    def half_width_pct(self) -> float:
        """Half the interval's width, as a percentage of the median."""
        low, high = self.interval_ms
        return 50 * (high - low) / self.median_ms

    def converged(self, plan: Plan) -> bool:
        """Whether the plan's interval has been reached, on enough samples to believe it."""
        return len(self.samples_ms) >= plan.min_samples and self.half_width_pct <= plan.target_pct

    def __str__(self) -> str:
        low, high = self.interval_ms
        return f"{self.median_ms:.4g} ms [{low:.4g}, {high:.4g}] over {len(self.samples_ms)} samples"


def _resamples(n: int) -> NDArray[np.intp]:
    # Fixed seed: the interval is a function of the samples alone, the same wherever it is computed.
    if n > SHARED_DRAWS:
        return np.random.default_rng(n).integers(n, size=(RESAMPLES, n))
    return np.asarray(_draws()[:, :n] * n, np.intp)


@cache
def _draws() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((RESAMPLES, SHARED_DRAWS), np.float32)
