"""What was asked of a measurement (Plan) and what came out of it (Measurement).

Words, used the same everywhere:
    run       one execution of a model
    visit     a few runs of one model in a row, with runs of the sentinel just before and after
    sentinel  one small model, the same in every batch: it tells how fast the device is at that moment
    round     one visit to every model of a batch, in shuffled order
    sample    what a visit says about a model, in ms, at a stated speed of the device
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from profilers.errors import UnknownNameError

CONFIDENCE = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to go on: until each model's interval is within `target_pct`, or a limit is reached."""

    target_pct: float  # half-width of the 95 % interval, as a percentage of the median
    min_rounds: int = 10
    max_rounds: int = 200
    time_limit_s: float = 60.0  # for one batch of models
    warmup_runs: int = 10  # the first runs of a session are slow: memory is still being laid out
    pace_s: float = 0.0  # rounds begin at least this far apart: a lone model is to be seen in many moods, too
    visit_ms: float = 1.0  # a visit repeats short runs up to this long, so that a sample outlasts timer noise


PLANS = {
    "quick": Plan(target_pct=3.0, max_rounds=20, time_limit_s=20.0),
    "default": Plan(target_pct=1.0),
    "careful": Plan(target_pct=0.5, min_rounds=20, max_rounds=800, time_limit_s=600.0),
}


def plan_named(name: str) -> Plan:
    """The preset `name`; raises UnknownNameError."""
    if name not in PLANS:
        raise UnknownNameError("measuring plan", name, PLANS)
    return PLANS[name]


@dataclass(frozen=True)
class Visit:
    """The median run of a model in one round, and the sentinel's beside it."""

    ms: float
    sentinel_ms: float


def at_speed(visits: Sequence[Visit], sentinel_ms: float) -> "Measurement":
    """What `visits` say of a model on the device at the speed at which the sentinel takes `sentinel_ms`.

    Neighbours on the same core, frequency and heat slow whatever runs by a common factor that changes within
    tens of milliseconds (by a third on the shared machine this was written on); the sentinel beside each visit
    carries the same factor, so their ratio repeats two to three times better than either.
    """
    return Measurement(tuple(visit.ms * sentinel_ms / visit.sentinel_ms for visit in visits))


@dataclass(frozen=True)
class Measurement:
    """One sample per round, in ms; every statistic is derived from them."""

    samples_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples_ms or not all(0 < sample < float("inf") for sample in self.samples_ms):
            raise ValueError(f"samples must be positive times in ms, got {self.samples_ms}")

    @cached_property
    def median_ms(self) -> float:
        """Median over rounds: robust against runs that were preempted."""
        return float(np.median(self.samples_ms))

    @cached_property
    def interval_ms(self) -> tuple[float, float]:
        """95 % percentile-bootstrap interval of the median over rounds (Efron & Tibshirani 1993, 13.3)."""
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
        """Whether the plan's interval has been reached, on enough rounds to believe it."""
        return len(self.samples_ms) >= plan.min_rounds and self.half_width_pct <= plan.target_pct

    def __str__(self) -> str:
        low, high = self.interval_ms
        return f"{self.median_ms:.4g} ms [{low:.4g}, {high:.4g}] over {len(self.samples_ms)} rounds"


@lru_cache(maxsize=512)
def _resamples(n: int) -> NDArray[np.intp]:
    # Fixed seed: the interval is a function of the samples alone, the same wherever it is computed.
    return np.random.default_rng(n).integers(n, size=(RESAMPLES, n))
