"""A device is known from few samples as far as devices before it allow, and says how far that is."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from lut.blocks import Conv, MBConv, Pool
from lut.parts import layer_quantities, part_costs_ms
from lut.transfer import Belief, Prior
from profilers.errors import InvalidInputError

TOOL = Path(__file__).parents[2] / "tools" / "transfer.py"
PARTS, SOURCES = 24, 5
seeds = st.integers(0, 2**32 - 1)


def devices(rng, parts=PARTS, count=SOURCES + 1):
    """Quantities of parts, and devices on which each quantity has a price of the device's own, with some noise."""
    quantities = np.exp(rng.uniform(0, 6, (parts, 3)))
    prices = np.exp(rng.normal(0, 1, (3, count)))
    return quantities, quantities @ prices * np.exp(rng.normal(0, 0.05, (parts, count)))


def nets(rng, count=200, parts=PARTS):
    """Sums of about half of the parts each."""
    return rng.integers(0, 2, (count, parts)).astype(float) + np.eye(parts)[rng.integers(0, parts, count)]


def mean_error(predicted, true):
    return np.mean(np.abs(predicted / true - 1))


@pytest.mark.parametrize("seed", range(5))
def test_ten_sums_say_more_of_a_device_than_any_other_devices_table_scaled_to_them(seed):
    rng = np.random.default_rng(seed)
    quantities, costs = devices(rng)
    rows, new = nets(rng), costs[:, -1]
    prior = Prior.learn(quantities, costs[:, :-1])
    chosen = prior.choose(rows, 10, rows)
    true, others = rows @ new, rows @ costs[:, :-1]
    scaled = others * np.exp(np.log(true[chosen, None] / others[chosen]).mean(axis=0))
    least = min(mean_error(scaled[:, source], true) for source in range(SOURCES))
    assert mean_error(prior.update(rows[chosen], true[chosen]).latency_ms(rows), true) < least / 2


@pytest.mark.parametrize("seed", range(5))
def test_a_device_whose_every_part_was_measured_is_what_was_measured(seed):
    quantities, costs = devices(np.random.default_rng(seed))
    posterior = Prior.learn(quantities, costs[:, :-1]).update(np.eye(PARTS), costs[:, -1])
    assert mean_error(posterior.latency_ms(np.eye(PARTS)), costs[:, -1]) < 0.03


@given(seeds)
@settings(max_examples=5, deadline=None)
def test_of_what_was_measured_more_is_known(seed):
    quantities, costs = devices(np.random.default_rng(seed))
    found = Prior.learn(quantities, costs[:, :-1]).update(np.eye(PARTS)[:8], costs[:8, -1]).predict(np.eye(PARTS))
    relative = found.sd_ms / found.ms
    assert relative[:8].mean() < relative[8:].mean()


@given(seeds, st.floats(0.001, 1000))
@settings(max_examples=5, deadline=None)
def test_units_of_time_and_of_quantities_do_not_matter(seed, factor):
    quantities, costs = devices(np.random.default_rng(seed))
    rows = nets(np.random.default_rng(seed))
    plain = Prior.learn(quantities, costs[:, :-1]).update(rows[:8], rows[:8] @ costs[:, -1])
    scaled = Prior.learn(factor * quantities, costs[:, :-1] * factor).update(
        rows[:8], factor * (rows[:8] @ costs[:, -1])
    )
    np.testing.assert_allclose(scaled.predict(rows).ms, factor * plain.predict(rows).ms, rtol=1e-3)


def test_logs_of_single_parts_are_predicted_as_scikit_learns_gaussian_process_predicts_them():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 3, (12, 1))
    kernel = ConstantKernel(0.25) * RBF(1.0)
    log_ms = np.zeros(12)
    prior = Prior(log_ms, np.zeros((12, 12)), kernel(places))
    measured_ms = np.exp(rng.normal(0, 0.3, 5))
    measured_ms /= measured_ms.mean()  # the level that is estimated first is then that of the prior
    likeliest = max(prior.update(np.eye(12)[:5], measured_ms).beliefs, key=lambda belief: -belief.noise)
    peer = GaussianProcessRegressor(1.0 + 4 * kernel, alpha=likeliest.noise**2, optimizer=None)
    mean, deviation = peer.fit(places[:5], np.log(measured_ms)).predict(places, return_std=True)
    np.testing.assert_allclose(likeliest.log_ms, mean, atol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(likeliest.covariance)), deviation, atol=0.01)


def left_over(belief: Belief, rows, chosen):
    """Mean relative variance of all rows once those chosen were measured, by the textbook formula."""
    shares = rows * np.exp(belief.log_ms)
    shares /= shares.sum(axis=1, keepdims=True)
    taken = shares[list(chosen)]
    reached = taken @ belief.covariance
    gained = reached.T @ np.linalg.inv(reached @ taken.T + belief.noise**2 * np.eye(len(taken))) @ reached
    return np.einsum("np,pq,nq->n", shares, belief.covariance - gained, shares).mean()


@pytest.mark.parametrize("seed", range(3))
def test_the_sums_chosen_leave_less_than_half_the_variance_of_a_random_choice(seed):
    rng = np.random.default_rng(seed)
    quantities, costs = devices(rng, parts=8)
    rows, prior = nets(rng, 12, 8), Prior.learn(quantities, costs)
    belief = prior.belief()
    every = [left_over(belief, rows, chosen) for chosen in combinations(range(12), 3)]
    chosen = prior.choose(rows, 3, rows)
    assert len(set(chosen)) == 3
    assert left_over(belief, rows, chosen) < np.median(every) / 2
    (first,) = prior.choose(rows, 1, rows)
    assert left_over(belief, rows, [first]) == pytest.approx(min(left_over(belief, rows, [i]) for i in range(12)))


def test_intervals_hold_as_many_measurements_as_they_say():
    """On devices drawn from the prior itself: 40 of them tell 90 from 80 and from 98 percent."""
    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        quantities, costs = devices(rng)
        prior = Prior.learn(quantities, costs)
        belief = prior.belief()
        new = np.exp(rng.multivariate_normal(belief.log_ms, belief.covariance))
        rows = nets(rng)
        measured = (rows @ new) * (1 + belief.noise * rng.standard_normal(len(rows)))
        low, high = prior.update(rows[:10], measured[:10]).predict(rows[10:]).interval_ms(90).T
        held.append(np.mean((low <= measured[10:]) & (measured[10:] <= high)))
    assert 0.8 < np.mean(held) < 0.98


def test_costs_of_parts_are_read_off_whole_nets_though_some_of_them_were_disturbed():
    rng = np.random.default_rng(0)
    quantities, costs = devices(rng)
    rows = nets(rng, 400)
    latencies = rows @ costs[:, 0]
    latencies[::20] *= 3
    np.testing.assert_allclose(
        part_costs_ms(rows, latencies, quantities), costs[:, 0], rtol=0.05, atol=costs[:, 0].mean() / 100
    )


@pytest.mark.parametrize(
    ("measured_ms", "message"), [([1.0, 0.0], "not above 0 ms"), ([1.0, np.nan], "not above 0 ms")]
)
def test_latencies_that_cannot_be_are_refused(measured_ms, message):
    quantities, costs = devices(np.random.default_rng(0))
    with pytest.raises(InvalidInputError, match=message):
        Prior.learn(quantities, costs).update(np.eye(PARTS)[:2], np.array(measured_ms))


@pytest.mark.parametrize("count", [0, PARTS + 1])
def test_no_more_samples_are_chosen_than_there_are(count):
    quantities, costs = devices(np.random.default_rng(0))
    with pytest.raises(InvalidInputError, match="cannot be chosen"):
        Prior.learn(quantities, costs).choose(np.eye(PARTS), count, np.eye(PARTS))


def test_a_cost_of_nothing_is_refused():
    quantities, costs = devices(np.random.default_rng(0))
    costs[3, 1] = 0
    with pytest.raises(InvalidInputError, match="not above 0 ms"):
        Prior.learn(quantities, costs)


def test_quantities_are_those_of_the_layers():
    block = MBConv(in_chs=8, out_chs=16, hw=10, mid_chs=24, kernel=5, stride=2, se=False, act="relu")
    dense = 8 * 24 * 100 + 24 * 16 * 25
    assert layer_quantities(block.layers)[:2] == (dense, 24 * 25 * 25)
    assert sum(layer_quantities(block.layers)[:2]) == block.macs and layer_quantities(block.layers)[2] == block.params
    assert layer_quantities(Pool(8, 8, 7).layers) == (0, 0, 0, 0, 0, 1)
    assert layer_quantities(Conv(3, 8, 32, 3, 2, "relu").layers)[4:] == (1, 3)


@pytest.mark.slow
def test_ten_nets_rank_those_of_a_published_device_that_is_unlike_all_sources(shared_data):
    """HELP, a meta-learned network, reaches 0.892 from as many (Lee et al. 2021)."""
    asked = ["help", "--data", str(shared_data), "--target", "fpga", "--samples", "10", "--draws", "3", "--json"]
    told = subprocess.run([sys.executable, str(TOOL), *asked], capture_output=True, check=True, text=True)
    (row,) = json.loads(told.stdout)
    assert row["chosen"] > 0.97 and row["random"] > 0.95
