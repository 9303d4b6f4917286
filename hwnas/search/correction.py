"""Correction: what to ask of predicted latencies, so that measured ones come close to a budget from below.

A prediction may be wrong by another factor for large networks than for small ones, and for one kernel than for
another. So what a measured network teaches holds near it: between one that kept the budget and a larger one that missed
it the limit is interpolated, beyond all measured ones the nearest one's factor is taken. It goes up as well as down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

AIM = 0.96  # share of the budget that the next network is to take: half-way between ENOUGH and a miss, and a bit more
ENOUGH = 0.9  # share of the budget that a network must take, or a larger one is looked for


@dataclass(frozen=True)
class Outcome:
    """A network as it was predicted now, and the upper end of its measured interval."""

    predicted_ms: float
    upper_ms: float


def corrected_ms(budget_ms: float, outcomes: Sequence[Outcome]) -> float:
    """The predicted latency at which a network should measure AIM of the budget; of at least one outcome."""
    kept = [outcome for outcome in outcomes if outcome.upper_ms <= budget_ms]
    below = max(kept, key=lambda outcome: outcome.predicted_ms, default=None)
    floor_ms = below.predicted_ms if below else 0.0
    missed = [o for o in outcomes if o.upper_ms > budget_ms and o.predicted_ms > floor_ms]
    above = min(missed, key=lambda outcome: outcome.predicted_ms, default=None)
    aim_ms = AIM * budget_ms
    if below and above:
        share = math.log(aim_ms / below.upper_ms) / math.log(above.upper_ms / below.upper_ms)
        return below.predicted_ms * math.pow(above.predicted_ms / below.predicted_ms, max(share, 0.0))
    nearest = below or above
    assert nearest is not None, "every outcome is kept or missed"
    return nearest.predicted_ms * aim_ms / nearest.upper_ms
