"""What predictors see of architectures is what the space says of them, however fast it was made."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.search.accuracy.features import Features
from hwnas.search.accuracy.gains import ExchangeGains
from hwnas.search.accuracy.perceptron import Perceptron
from hwnas.search.accuracy.ridge import Ridge
from hwnas.spaces import names, open_space

from ..kit import TINY, small

SPACES = {name: open_space(name) for name in names()} | {"tiny": TINY, "small": small(16, 24)}
FEATURES = {name: Features(space) for name, space in SPACES.items()}


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_they_are_the_spaces_own_encoding_and_the_logarithm_of_macs(name, seed):
    space, features = SPACES[name], FEATURES[name]
    rows = np.random.default_rng(seed).integers(0, space.sizes, (20, len(space.sizes)))  # not canonical
    found = features(rows)
    assert found.shape == (20, features.width)
    assert (found[:, :-1] == space.encode(rows)).all()
    macs = [sum(block.macs for block in space.layers(space.arch(row)).values()) for row in rows]
    np.testing.assert_allclose(found[:, -1], np.log(macs), rtol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_one_network_has_one_set_of_features_however_it_is_spelled(name):
    space, features = SPACES[name], FEATURES[name]
    rows = np.random.default_rng(0).integers(0, space.sizes, (200, len(space.sizes)))
    canonical = space.canonical(rows)
    assert (rows != canonical).any()
    assert (features(rows) == features(canonical)).all()


def test_a_population_of_nobody_has_no_features():
    assert FEATURES["digits"](np.empty((0, len(SPACES["digits"].sizes)), np.intp)).shape == (
        0,
        FEATURES["digits"].width,
    )


def exchanged(space, row):
    """What every single exchange makes of an architecture, (choices of all dimensions, dims); itself among them."""
    others = np.tile(row, (sum(space.sizes), 1))
    others[np.arange(len(others)), space.columns.dims] = space.columns.choices
    return others


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_what_exchanges_gain_by_a_sum_is_told_exactly(name, seed):
    space, features, rng = SPACES[name], FEATURES[name], np.random.default_rng(seed)
    ridge = Ridge(rng.normal(0, 1, features.width), np.array(0.5))
    gains = ExchangeGains(features, ridge.layers)
    for row in space.sample(3, rng):
        slow = ridge(features(exchanged(space, row))) - ridge(features(row[None]))
        np.testing.assert_allclose(gains(row[None])[0], slow, atol=2e-5)


def perceptron(width, rng, biases=(0, 0, 0)):
    """Two hidden layers of random weights."""
    layers = [
        (rng.normal(0, m**-0.5, (m, n)).astype(np.float32), rng.normal(bias, 0.1, n).astype(np.float32))
        for (m, n), bias in zip(pairwise((width, 60, 60, 1)), biases, strict=True)
    ]
    layers[0][0][-1] = 0  # the logarithm of MACs is far larger than the other features
    return Perceptron(tuple(layers))


def test_where_no_unit_switches_a_perceptrons_gains_are_exact():
    space, features = SPACES["digits"], FEATURES["digits"]
    model = perceptron(features.width, np.random.default_rng(0), biases=(30, 300, 0))
    for row in space.sample(5, np.random.default_rng(1)):
        slow = model(features(exchanged(space, row))) - model(features(row[None]))
        np.testing.assert_allclose(ExchangeGains(features, model.layers)(row[None])[0], slow, atol=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_where_units_switch_they_are_nearer_to_the_truth_than_torchs_slopes(seed):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(seed)
    space, features = SPACES["digits"], FEATURES["digits"]
    model = perceptron(features.width, rng)
    rows = space.sample(30, rng)
    x = torch.from_numpy(features(rows)).requires_grad_()
    y = x
    for number, (weight, bias) in enumerate(model.layers):
        y = y @ torch.from_numpy(weight) + torch.from_numpy(bias)
        y = y.relu() if number < len(model.layers) - 1 else y
    y.sum().backward()
    deciding = space.deciding(rows)[:, space.columns.dims]
    # Kernels and expansions: what depths leave out is another matter.
    deciding &= np.array([not space.dimensions[dim].name.endswith("depth") for dim in space.columns.dims])
    slopes = x.grad.numpy()
    by_torch = slopes[:, :-1] - np.take_along_axis(slopes, rows + space.columns.first, axis=1)[:, space.columns.dims]
    truth = np.stack([model(features(exchanged(space, row))) for row in rows]) - model(features(rows))[:, None]
    ours = ExchangeGains(features, model.layers)(rows)
    errors = [np.sqrt(np.mean((found - truth)[deciding] ** 2)) for found in (ours, by_torch)]
    assert errors[0] < 0.8 * errors[1]
