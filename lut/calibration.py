"""Calibration: from a sum over blocks to the latency of a whole network.

A block timed alone pays for a call into the runtime and for reordering its output, which inside a network it does
not: an affine map of the sum mends it. A block's weights also stay in a cache that those of a large network do not
fit, which bends the line upwards: a quadratic term is used where it predicts left-out nets better (on one CPU with
1 MB of L2 and nets of 0.7 to 2.8 MB it took the mean error from 2.5 to 1.7 %, the largest from 10 to 4.5 %).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profilers.errors import InvalidInputError, UntrustedError

LEAST_NETS = 6  # three coefficients, and as many residuals to judge them by

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A polynomial in the sum, and how far it was off on each net when that net was left out of the fit."""

    coefficients: tuple[float, ...]  # of 1, sum, and sum² where it is quadratic
    errors_pct: tuple[float, ...]  # (predicted - measured) / measured, leave-one-out

    @classmethod
    def fit(cls, sums_ms: Sequence[float], measured_ms: Sequence[float]) -> "Calibration":
        """Least squares on relative errors.

        Raises InvalidInputError for fewer than 6 nets, UntrustedError if nets do not get slower with their blocks.
        """
        if len(sums_ms) < LEAST_NETS:
            raise InvalidInputError(
                f"calibration needs {LEAST_NETS} measured whole nets and has {len(sums_ms)}: profile the device again"
            )
        fits = [cls._fit(np.asarray(sums_ms), np.asarray(measured_ms), degree) for degree in (1, 2)]
        rising = [fit for fit in fits if min(fit.coefficients[1:]) > 0]  # a dearer sum must be a dearer net
        if not rising:
            raise UntrustedError(
                "whole nets do not get slower with their blocks: the device was too busy; profile it again, --careful"
            )
        return min(rising, key=lambda fit: fit.spread_pct)

    @classmethod
    def _fit(cls, sums: Floats, measured: Floats, degree: int) -> "Calibration":
        # Rows divided by the target: an error of 1 % weighs the same in a fast net as in a slow one.
        design = np.vander(sums, degree + 1, increasing=True) / measured[:, None]
        errors = []
        for left_out in range(len(sums)):
            kept = np.arange(len(sums)) != left_out
            errors.append(100 * (design[left_out] @ _solve(design[kept]) - 1))
        return cls(coefficients=tuple(_solve(design).tolist()), errors_pct=tuple(map(float, errors)))

    def latency_ms(self, sum_ms: Floats) -> Floats:
        """Latencies of nets whose blocks sum up to `sum_ms`: a rising function of it."""
        return np.asarray(np.polynomial.polynomial.polyval(sum_ms, self.coefficients))

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


def _solve(design: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(design, np.ones(len(design)), rcond=None)[0])
