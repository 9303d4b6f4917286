"""What a calibration leaves over is learned where that helps left-out nets, and only there."""

import numpy as np
import pytest

from hwnas.spaces import open_space
from lut.blocks import Block
from lut.calibration import Calibration
from lut.parts import block_quantities
from lut.residual import PricedBlock, calibrate
from profilers.errors import InvalidInputError

DIGITS = open_space("digits")
SIZES = np.random.default_rng(0).uniform(0.5, 2, len(DIGITS.vocabulary))
ALONE_MS = {b: s * (0.02 + b.macs / 1e7) for b, s in zip(DIGITS.vocabulary, SIZES, strict=True)}


def nets(count: int, seed: int) -> list[list[PricedBlock]]:
    rows = DIGITS.sample(count, np.random.default_rng(seed))
    return [[(block, ALONE_MS[block]) for block in DIGITS.layers(DIGITS.arch(row)).values()] for row in rows]


def depthwise_macs(block: Block) -> float:
    return block_quantities(block)[1]


def latencies_ms(of: list[list[PricedBlock]], *, synchronised: bool, seed: int = 9) -> np.ndarray:
    """0.1 ms and 80 % of the sum; where threads wait for each other, also 1 µs for 2000 depthwise MACs; 0.3 % noise."""
    sums = np.array([0.1 + 0.8 * sum(ms for _, ms in net) for net in of])
    waits = np.array([sum(depthwise_macs(block) for block, _ in net) for net in of]) * 5e-7
    return (sums + synchronised * waits) * np.random.default_rng(seed).normal(1, 0.003, len(of))


def predicted_ms(found: Calibration, net: list[PricedBlock]) -> float:
    return found.constant_ms + sum(found.added_ms(block, ms) for block, ms in net)


def mean_error(found: Calibration, of: list[list[PricedBlock]], true: np.ndarray) -> float:
    return float(np.mean(np.abs(np.array([predicted_ms(found, net) for net in of]) / true - 1)))


def calibration(of: list[list[PricedBlock]], measured: np.ndarray) -> Calibration:
    return Calibration.fit([[(ms, block.params) for block, ms in net] for net in of], measured.tolist())


def test_what_blocks_alone_do_not_show_is_learned_from_whole_nets() -> None:
    known, unseen = nets(16, 1), nets(100, 2)
    measured, true = latencies_ms(known, synchronised=True), latencies_ms(unseen, synchronised=True, seed=8)
    found = calibrate(known, measured)
    assert any(found.prices_ms)
    assert mean_error(found, unseen, true) < 0.7 * mean_error(calibration(known, measured), unseen, true)


def test_where_sums_hold_nothing_is_added_that_makes_unseen_nets_worse() -> None:
    unseen = nets(100, 2)
    true = latencies_ms(unseen, synchronised=False, seed=8)
    for seed in range(5):
        known = nets(16, 10 + seed)
        measured = latencies_ms(known, synchronised=False, seed=seed)
        plain = mean_error(calibration(known, measured), unseen, true)
        assert mean_error(calibrate(known, measured), unseen, true) < plain + 0.001


def test_errors_are_those_of_nets_that_nothing_was_fitted_on() -> None:
    known = nets(16, 1)
    measured = latencies_ms(known, synchronised=True)
    found = calibrate(known, measured)
    for left_out in (0, 7, 15):
        kept = [i for i in range(16) if i != left_out]
        others = calibrate([known[i] for i in kept], measured[kept])
        assert any(others.prices_ms)
        error = 100 * (predicted_ms(others, known[left_out]) / measured[left_out] - 1)
        assert found.errors_pct[left_out] == pytest.approx(error, rel=1e-6)


def test_the_fewest_nets_that_calibrate_leave_none_to_judge_a_correction_by() -> None:
    known = nets(6, 1)
    assert not calibrate(known, latencies_ms(known, synchronised=True)).prices_ms
    with pytest.raises(InvalidInputError, match="needs 6 measured whole nets and has 5"):
        calibrate(known[:5], latencies_ms(known[:5], synchronised=True))
