"""Two tables side by side: which entries are dearer than usual on one of two devices."""

import numpy as np

from lut.table import LatencyTable
from profilers.errors import InvalidInputError


def relative_costs(first: LatencyTable, second: LatencyTable) -> list[tuple[str, float, float, float]]:
    """Entries of both tables as (name, ms in first, ms in second, ratio), the greatest disagreement first.

    The ratio is second / first, divided by its median: how much dearer than usual an entry is on the second device.
    Raises InvalidInputError if the tables have no entry in common.
    """
    mine, theirs = dict(first.measured()), dict(second.measured())
    names = [name for name in mine if name in theirs]
    if not names:
        raise InvalidInputError(
            f"{first.path} and {second.path} have no entry in common: profile the same space on both"
        )
    ratios = np.array([theirs[name].latency_ms / mine[name].latency_ms for name in names])
    ratios /= np.median(ratios)
    order = np.argsort(-np.abs(np.log(ratios)), kind="stable")
    return [(names[i], mine[names[i]].latency_ms, theirs[names[i]].latency_ms, float(ratios[i])) for i in order]
