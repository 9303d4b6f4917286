"""Calibration: from a sum over blocks to the latency of a whole network.

A block timed alone starts with one call into the runtime and ends with one reordering of its output that it
does not pay inside a network, so a net costs  a + b · sum + c · blocks, with c < 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profilers.errors import InvalidInputError

LEAST_NETS = 6  # three coefficients, and as many residuals to judge them by


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """An affine map, and how far it was off on each net when that net was left out of the fit."""

    offset_ms: float
    scale: float
    per_block_ms: float
    errors_pct: tuple[float, ...]  # (predicted - measured) / measured, leave-one-out

    @classmethod
    def fit(cls, sums_ms: Sequence[float], blocks: Sequence[int], measured_ms: Sequence[float]) -> "Calibration":
        """Least squares on relative errors; raises InvalidInputError for fewer than 6 nets."""
        if len(sums_ms) < LEAST_NETS:
            raise InvalidInputError(
                f"calibration needs {LEAST_NETS} measured whole nets and has {len(sums_ms)}: profile the device again"
            )
        target = np.asarray(measured_ms)
        design = np.column_stack([np.ones(len(target)), sums_ms, np.asarray(blocks, float)])
        offset, scale, per_block = _solve(design, target)
        errors = []
        for left_out in range(len(target)):
            kept = np.arange(len(target)) != left_out
            predicted = design[left_out] @ _solve(design[kept], target[kept])
            errors.append(float(100 * (predicted - target[left_out]) / target[left_out]))
        return cls(offset_ms=float(offset), scale=float(scale), per_block_ms=float(per_block), errors_pct=tuple(errors))

    def latency_ms(self, sum_ms: float, blocks: int) -> float:
        """Latency of a net whose `blocks` blocks sum up to `sum_ms`."""
        return self.offset_ms + self.scale * sum_ms + self.per_block_ms * blocks

    @property
    def mean_error_pct(self) -> float:
        """Mean absolute leave-one-out error."""
        return float(np.mean(np.abs(self.errors_pct)))

    @property
    def max_error_pct(self) -> float:
        """Largest absolute leave-one-out error."""
        return float(np.max(np.abs(self.errors_pct)))

    @property
    def spread_pct(self) -> float:
        """Root mean square leave-one-out error: one standard deviation of a prediction."""
        return float(np.sqrt(np.mean(np.square(self.errors_pct))))


def _solve(design: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    # Rows divided by the target: an error of 1 % weighs the same in a fast net as in a slow one.
    solution: NDArray[np.float64] = np.linalg.lstsq(design / target[:, None], np.ones(len(target)), rcond=None)[0]
    return solution
