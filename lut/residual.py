"""Calibration by whole networks, and by what quantities of a network say of the error that leaves.

Where the sum of blocks is a poor guide (several threads, a GPU), networks of equal sums differ by how much of their
time is arithmetic, memory or calls. What is left over is learned as prices of these quantities, which are sums over
blocks themselves: so whatever prices and minimises sums exactly still does. Where that does not predict left-out nets
better, nothing is added and the calibration stands. A nonlinear model of what is left over was no better on any table.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lut.blocks import Block
from lut.calibration import LEAST_NETS, Calibration
from lut.parts import block_quantities

Floats = NDArray[np.float64]
PricedBlock = tuple[Block, float]
"""A block and its time in ms."""

PENALTIES = tuple(10.0 ** np.arange(-2, 4.1, 0.5))  # against squared errors in units of their mean square


def calibrate(nets: Sequence[Sequence[PricedBlock]], measured_ms: Sequence[float]) -> Calibration:
    """From nets, given by their blocks, and their latencies; raises what `Calibration.fit` raises.

    The errors are of nets that neither calibration, nor prices, nor their penalty were fitted on.
    """
    measured = np.asarray(measured_ms)
    totals = np.array([np.sum([block_quantities(block) for block, _ in net], axis=0) for net in nets])
    timed = [[(ms, block.params) for block, ms in net] for net in nets]
    plain = Calibration.fit(timed, measured_ms)
    if len(nets) <= LEAST_NETS:  # none can be left out
        return plain
    errors = []
    for left_out in range(len(nets)):
        kept = [i for i in range(len(nets)) if i != left_out]
        calibration = Calibration.fit([timed[i] for i in kept], measured[kept].tolist())
        prices = _prices_ms(calibration, [timed[i] for i in kept], totals[kept], measured[kept])
        predicted = calibration.latency_ms(timed[left_out]) + totals[left_out] @ prices
        errors.append(float(100 * (predicted / measured[left_out] - 1)))
    corrected = replace(
        plain, prices_ms=tuple(_prices_ms(plain, timed, totals, measured).tolist()), errors_pct=tuple(errors)
    )
    return corrected if corrected.spread_pct < plain.spread_pct else plain


def _prices_ms(
    calibration: Calibration, nets: Sequence[Sequence[tuple[float, int]]], totals: Floats, measured: Floats
) -> Floats:
    """Prices in ms of the quantities whose totals, (nets, quantities), explain what the calibration is off by."""
    left = 1 - np.array([calibration.latency_ms(net) for net in nets]) / measured
    relative = totals / measured[:, None]
    scale = np.sqrt((relative**2).mean(axis=0)) + 1e-300
    return np.asarray(_ridge(relative / scale, left) / scale)


def _ridge(rows: Floats, target: Floats) -> Floats:
    """Coefficients under the penalty that predicts left-out targets best: exact without refitting (Allen 1974)."""
    axes, sizes, across = np.linalg.svd(rows, full_matrices=False)
    best, least = np.zeros(rows.shape[1]), float((target**2).sum())
    for penalty in PENALTIES:
        shrunk = sizes**2 / (sizes**2 + penalty)
        left = target - axes @ (shrunk * (axes.T @ target))
        held_out = left / (1 - (axes**2) @ shrunk)
        if (held_out**2).sum() < least:
            best, least = across.T @ (sizes / (sizes**2 + penalty) * (axes.T @ target)), float((held_out**2).sum())
    return np.asarray(best)
