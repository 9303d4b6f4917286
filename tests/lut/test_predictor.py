"""Blocks that were never measured are predicted from those that were, and intervals say how well."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from hwnas.spaces import open_space
from lut.blocks import Block, MBConv, Pool
from lut.features import features, work
from lut.gaussian_process import GaussianProcess, _misfit
from lut.importers import read_published
from lut.predictor import BlockPredictor, Predicted
from lut.table import LatencyTable
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import Visit
from profilers.rounds import Round

HERE = Fingerprint(
    machine="a phone", cores=8, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
)
BLOCKS = open_space("ofa-mbv3").vocabulary
KNOWN, HELD_OUT = BLOCKS[::2], BLOCKS[1::2]


def roofline_ms(blocks: Sequence[Block]) -> np.ndarray:
    """Times on a device that does 30 GMAC (6 depthwise) and moves 10 GB a second, and takes 10 µs for a call."""
    return work(blocks) @ [1e-2, 1 / 30e6, 1 / 6e6, 1 / 10e6, 1 / 10e6]


@pytest.fixture(scope="module")
def predictor() -> BlockPredictor:
    return BlockPredictor.fit(KNOWN, roofline_ms(KNOWN))


@pytest.fixture(scope="module")
def note10(shared_data: Path) -> dict[Block, float]:
    files = [shared_data / "ofa_note10" / f"{size}_lookup_table.yaml" for size in (160, 224)]
    return {entry.block: entry.ms for entry in read_published("ofa", files)}


def test_a_phone_s_blocks_are_predicted_from_sixty_percent_of_them(note10: dict[Block, float]) -> None:
    blocks = list(note10)
    errors, inside = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(blocks))
        known, held_out = ([blocks[i] for i in part] for part in np.split(order, [round(0.6 * len(order))]))
        found = BlockPredictor.fit(known, [note10[block] for block in known])
        true = np.array([note10[block] for block in held_out])
        low, high = found.interval_ms(held_out).T
        errors.append(np.abs(found.blocks_ms(held_out) / true - 1))
        inside.append((low <= true) & (true <= high))
    assert np.mean(errors) < 0.08 and np.median(errors) < 0.05
    assert 0.84 < np.mean(inside) < 0.96


def test_a_device_that_is_a_roofline_is_learned(predictor: BlockPredictor) -> None:
    errors = np.abs(predictor.blocks_ms(HELD_OUT) / roofline_ms(HELD_OUT) - 1)
    assert errors.mean() < 0.02


def test_a_kernel_size_that_the_runtime_has_no_code_for_is_learned() -> None:
    """Seen in LiteRT, int8: 7x7 takes 20 times as long as 5x5."""
    cliff = {
        b: ms * (20 if getattr(b, "kernel", 1) == 7 else 1) for b, ms in zip(BLOCKS, roofline_ms(BLOCKS), strict=True)
    }
    found = BlockPredictor.fit(KNOWN, [cliff[block] for block in KNOWN])
    errors = [abs(found.block_ms(b) / cliff[b] - 1) for b in HELD_OUT if isinstance(b, MBConv)]
    assert np.median(errors) < 0.05 and np.max(errors) < 0.5


def test_a_device_twice_as_slow_has_predictions_twice_as_long(predictor: BlockPredictor) -> None:
    slower = BlockPredictor.fit(KNOWN, 2 * roofline_ms(KNOWN))
    np.testing.assert_allclose(slower.blocks_ms(HELD_OUT), 2 * predictor.blocks_ms(HELD_OUT), rtol=1e-3)


def test_the_order_of_what_is_known_decides_nothing(predictor: BlockPredictor) -> None:
    turned = BlockPredictor.fit(KNOWN[::-1], roofline_ms(KNOWN)[::-1])
    np.testing.assert_allclose(turned.blocks_ms(HELD_OUT), predictor.blocks_ms(HELD_OUT), rtol=1e-3)
    np.testing.assert_allclose(turned.errors_pct[::-1], predictor.errors_pct, atol=0.2)


def test_more_confidence_makes_intervals_wider_and_they_hold_the_prediction(predictor: BlockPredictor) -> None:
    usual, wide = predictor.interval_ms(HELD_OUT, 50), predictor.interval_ms(HELD_OUT, 90)
    guess = predictor.blocks_ms(HELD_OUT)
    assert (wide[:, 0] <= usual[:, 0]).all() and (usual[:, 1] <= wide[:, 1]).all()
    assert (usual[:, 0] > 0).all() and (usual[:, 0] <= guess).all() and (guess <= usual[:, 1]).all()


@pytest.mark.parametrize("confidence", [0, 100, 99])
def test_an_interval_that_the_data_do_not_support_is_refused(predictor: BlockPredictor, confidence: float) -> None:
    with pytest.raises(InvalidInputError, match=f"{len(KNOWN)} measured blocks support no interval of {confidence} %"):
        predictor.interval_ms(HELD_OUT, confidence)


def test_too_few_blocks_and_impossible_times_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs 20 measured ones and has 19"):
        BlockPredictor.fit(BLOCKS[:19], roofline_ms(BLOCKS[:19]))
    with pytest.raises(InvalidInputError, match="above 0"):
        BlockPredictor.fit(BLOCKS[:20], [0.0] * 20)


def test_what_is_measured_is_priced_as_measured_and_what_is_guessed_is_named(tmp_path: Path) -> None:
    table = LatencyTable.open(tmp_path / "table.jsonl", "pixel", HERE)
    visits = {b.key: Visit(ms, 0.125) for b, ms in zip(KNOWN, roofline_ms(KNOWN), strict=True)}
    table.add_round(Round(visits, frozenset()))
    prices = Predicted(table)
    assert [prices.block_ms(block) for block in KNOWN[:5]] == [table.block_ms(block) for block in KNOWN[:5]]
    assert prices.used == set()
    guesses = [prices.block_ms(block) for block in HELD_OUT[:5]]
    assert prices.used == set(HELD_OUT[:5])
    np.testing.assert_allclose(guesses, roofline_ms(HELD_OUT[:5]), rtol=0.2)


def test_work_is_counted_from_the_operations() -> None:
    block = MBConv(16, 24, 8, 64, 3, 2, False, "relu")
    read_and_written = 16 * 64 + 64 * 64 + (64 * 64 + 64 * 16) + (64 * 16 + 24 * 16)
    weights, depthwise = 16 * 64 + 64 * 9 + 64 * 24, 4 * 4 * 64 * 9
    assert work([block]).tolist() == [[3, block.macs - depthwise, depthwise, 4 * read_and_written, 4 * weights]]


def test_features_tell_all_blocks_apart() -> None:
    rows = features(BLOCKS)
    assert np.isfinite(rows).all()
    assert len(np.unique(rows.round(9), axis=0)) == len(BLOCKS)
    gated = MBConv(16, 16, 8, 64, 3, 1, True, "relu")
    assert (features([gated]) != features([replace(gated, se=False)])).any()


def known_points(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 3))
    return x, np.sin(x[:, 0]) + 0.1 * x[:, 1] + 0.01 * rng.normal(size=40), rng.normal(size=(15, 3))


def test_a_gaussian_process_predicts_like_scikit_learn_s() -> None:
    x, y, asked = known_points(0)
    ours = GaussianProcess.fit(x, y)
    deviation, noise, *lengths = np.exp(ours.logs)
    kernel = ConstantKernel(1) + ConstantKernel(deviation**2) * Matern(lengths, nu=2.5) + WhiteKernel(noise**2)
    theirs = GaussianProcessRegressor(kernel, optimizer=None, alpha=1e-12).fit((x - x.mean(0)) / x.std(0), y)
    for mine, expected in zip(
        ours.predict(asked), theirs.predict((asked - x.mean(0)) / x.std(0), return_std=True), strict=True
    ):
        np.testing.assert_allclose(mine, expected, rtol=1e-6)


def test_the_slope_of_a_process_s_misfit_is_its_derivative() -> None:
    x, y, _ = known_points(1)
    squares = (x[:, None] - x[None]) ** 2
    logs = np.array([-0.5, -2.0, 0.3, 1.0, 2.0])
    slope = _misfit(logs, squares, y)[1]
    off = check_grad(lambda t: _misfit(t, squares, y)[0], lambda t: _misfit(t, squares, y)[1], logs)
    assert off < 1e-4 * np.linalg.norm(slope)


def test_a_feature_that_never_varies_decides_nothing() -> None:
    x, y, asked = known_points(2)
    usual = GaussianProcess.fit(x, y).predict(asked)[0]
    constant = GaussianProcess.fit(np.c_[x, np.ones(40)], y).predict(np.c_[asked, np.full(15, 7.0)])[0]
    np.testing.assert_allclose(constant, usual, rtol=1e-4, atol=1e-4)


def test_blocks_without_macs_are_predicted_too() -> None:
    pools = [Pool(chs, chs, hw) for chs in range(8, 96, 8) for hw in (4, 7, 10, 14)]
    found = BlockPredictor.fit(pools[::2], roofline_ms(pools[::2]))
    np.testing.assert_allclose(found.blocks_ms(pools[1::2]), roofline_ms(pools[1::2]), rtol=0.05)
