"""Calibration: from blocks timed alone to the latency of the network they make up.

A block timed alone pays for a call into the runtime and for reordering its input and output, which inside a network
it does not; and its weights are in a cache, where those of a network often are not. So a network takes

    constant + Σ over blocks (per_ms · its time + per_block_ms + per_mparam_ms · its million parameters)

The last two terms are used where they predict left-out nets better than without: on one CPU the parameters took the
mean error from 5.8 to 3.0 % for nets of 0.1 ms, and from 1.3 to 1.0 % together for nets of 4 to 8 ms. Each term is a
sum over blocks, so whatever minimises and prices sums exactly does the same for latencies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lut.blocks import Block
from lut.parts import block_quantities
from profilers.errors import InvalidInputError, UntrustedError

LEAST_NETS = 6  # two coefficients at least, and as many residuals to judge them by
NETS_PER_COEFFICIENT = 3

Floats = NDArray[np.float64]
TimedBlock = tuple[float, int]
"""A block's time in ms and its number of parameters."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The coefficients, and how far they were off on each net when that net was left out of the fit."""

    constant_ms: float
    per_ms: float
    per_block_ms: float = 0.0
    per_mparam_ms: float = 0.0
    prices_ms: tuple[float, ...] = ()  # of a block's physical quantities, see `lut.residual`
    errors_pct: tuple[float, ...]  # (predicted - measured) / measured, leave-one-out

    @classmethod
    def fit(cls, nets: Sequence[Sequence[TimedBlock]], measured_ms: Sequence[float]) -> "Calibration":
        """Least squares on relative errors, over nets given by their blocks and their measured latencies.

        Raises InvalidInputError for fewer than 6 nets, UntrustedError if nets do not get slower with their blocks.
        """
        if len(nets) < LEAST_NETS:
            raise InvalidInputError(
                f"calibration needs {LEAST_NETS} measured whole nets and has {len(nets)}: profile the device again"
            )
        measured = np.asarray(measured_ms)
        design = np.array([_features(net) for net in nets])
        allowed = [columns for columns in ((0, 1), (0, 1, 3), (0, 1, 2, 3))
                   if len(columns) == 2 or len(nets) >= NETS_PER_COEFFICIENT * len(columns)]  # fmt: skip
        fits = [cls._fit(design, measured, columns) for columns in allowed]
        rising = [fit for fit in fits if fit.per_ms > 0]  # a dearer block must make a dearer net
        if not rising:
            raise UntrustedError(
                "whole nets do not get slower with their blocks: the device was too busy; profile it again, --careful"
            )
        return min(rising, key=lambda fit: fit.spread_pct)

    @classmethod
    def _fit(cls, design: Floats, measured: Floats, columns: tuple[int, ...]) -> "Calibration":
        # Rows divided by the target: an error of 1 % weighs the same in a fast net as in a slow one.
        rows = design[:, columns] / measured[:, None]
        errors = []
        for left_out in range(len(rows)):
            kept = np.arange(len(rows)) != left_out
            errors.append(100 * (rows[left_out] @ _solve(rows[kept]) - 1))
        found = np.zeros(4)
        found[list(columns)] = _solve(rows)
        constant_ms, per_ms, per_block_ms, per_mparam_ms = found.tolist()
        return cls(
            constant_ms=constant_ms, per_ms=per_ms, per_block_ms=per_block_ms, per_mparam_ms=per_mparam_ms,
            errors_pct=tuple(map(float, errors)),
        )  # fmt: skip

    def block_ms(self, block: TimedBlock) -> float:
        """What a block adds to the latency of a network."""
        ms, params = block
        return self.per_ms * ms + self.per_block_ms + self.per_mparam_ms * params / 1e6

    def added_ms(self, block: Block, ms: float) -> float:
        """What a block that takes `ms` alone adds to the latency of a network, its quantities' prices included."""
        added = self.block_ms((ms, block.params))
        if not self.prices_ms:
            return added
        return added + math.fsum(price * x for price, x in zip(self.prices_ms, block_quantities(block), strict=True))

    def latency_ms(self, net: Sequence[TimedBlock]) -> float:
        """Latency of a network."""
        return self.constant_ms + sum(map(self.block_ms, net))

    @property
    def known(self) -> bool:
        """Whether there are errors to judge it by; without, the figures below are no numbers (nan)."""
        return bool(self.errors_pct)

    @property
    def mean_error_pct(self) -> float:
        """Mean absolute leave-one-out error."""
        return float(np.mean(np.abs(self.errors_pct))) if self.known else math.nan

    @property
    def max_error_pct(self) -> float:
        """Largest absolute leave-one-out error."""
        return float(np.max(np.abs(self.errors_pct))) if self.known else math.nan

    @property
    def spread_pct(self) -> float:
        """Root mean square leave-one-out error: one standard deviation of a prediction."""
        return float(np.sqrt(np.mean(np.square(self.errors_pct)))) if self.known else math.nan

    def interval_pct(self, confidence_pct: float) -> float:
        """Half the width of a prediction's interval, in percent of it: Student's t on the leave-one-out errors.

        Raises InvalidInputError where no error is known.
        """
        from scipy.special import stdtrit

        if not self.errors_pct:
            raise InvalidInputError(
                "how far predictions are off is not known, because no whole nets were measured: "
                "leave out the confidence"
            )
        return self.spread_pct * float(stdtrit(len(self.errors_pct) - 1, 0.5 + confidence_pct / 200))


PLAIN_SUM = Calibration(constant_ms=0.0, per_ms=1.0, errors_pct=())
"""A network takes what its blocks take: of tables for which no whole nets were measured."""


def _features(net: Sequence[TimedBlock]) -> tuple[float, ...]:
    return (1.0, sum(ms for ms, _ in net), float(len(net)), sum(params for _, params in net) / 1e6)


def _solve(rows: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0])
