import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.pricing import AdditiveCost, evenly_spread
from hwnas.space import Dimension
from hwnas.spaces import open_space
from hwnas.spaces.ofa_mbv3 import MobileNetV3Space, Stage

DIGITS = open_space("digits")
SMALL = MobileNetV3Space(
    "small",
    resolutions=(16, 24),
    image_chs=1,
    stem_chs=8,
    stages=(Stage(8, 2, False, "relu"), Stage(16, 1, True, "relu")),
    depths=(1, 2),
    kernels=(3, 5),
    expands=(3, 4),
    head_chs=(16, 16),
    classes=3,
)
EVERY_ROW = np.array(list(product(*map(range, SMALL.sizes))))


def random_costs(space, seed):
    values = np.random.default_rng(seed).uniform(0.01, 5, len(space.vocabulary))
    return dict(zip(space.vocabulary, values, strict=True))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_one_gather_prices_like_a_sum_over_blocks(seed):
    costs = random_costs(DIGITS, seed)
    rows = DIGITS.sample(30, np.random.default_rng(seed))
    slow = [math.fsum(costs[block] for block in DIGITS.layers(DIGITS.arch(row)).values()) for row in rows]
    np.testing.assert_allclose(AdditiveCost(DIGITS, costs.__getitem__)(rows), slow, rtol=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_least_cost_is_that_of_an_exhaustive_search(seed):
    cost = AdditiveCost(SMALL, random_costs(SMALL, seed).__getitem__)
    least, arch = cost.least()
    assert least == pytest.approx(cost(EVERY_ROW).min(), rel=1e-12)
    assert cost(SMALL.row(arch)[None])[0] == least


def test_the_least_cost_is_found_where_smaller_is_not_cheaper():
    """A device on which the smallest kernel is the dearest: the smallest architecture is not the answer."""
    dear = {block: 10.0 if getattr(block, "kernel", 0) == 3 else 1.0 for block in DIGITS.vocabulary}
    cost = AdditiveCost(DIGITS, dear.__getitem__)
    assert cost.least()[0] < cost(DIGITS.row(DIGITS.smallest)[None])[0]


def test_integer_costs_of_whole_spaces_are_exact():
    space = open_space("ofa-mbv3")
    macs = AdditiveCost(space, lambda block: block.macs)
    rows = space.sample(100, np.random.default_rng(0))
    assert macs(rows).tolist() == [sum(b.macs for b in space.layers(space.arch(r)).values()) for r in rows]


def test_evenly_spread_architectures_reach_both_ends_and_leave_no_wide_gap():
    macs = AdditiveCost(DIGITS, lambda block: block.macs)
    rows = evenly_spread(DIGITS, 16, np.random.default_rng(0))
    costs = np.sort(macs(rows))
    step = (macs(DIGITS.row(DIGITS.largest)[None])[0] - macs.least()[0]) / 15
    assert len(np.unique(rows, axis=0)) == 16
    assert costs[0] == macs.least()[0] and costs[-1] == macs(DIGITS.row(DIGITS.largest)[None])[0]
    assert np.diff(costs).max() < 2.5 * step


def test_a_dimension_that_decides_nothing_changes_no_price():
    idle = MobileNetV3Space.__new__(MobileNetV3Space)
    idle.__dict__.update(SMALL.__dict__)
    idle.dimensions = (*SMALL.dimensions, Dimension("idle", (0, 1), ()))
    for name in ("sizes", "factors", "vocabulary", "smallest", "largest", "_deciding"):
        idle.__dict__.pop(name, None)
    rows = np.concatenate([EVERY_ROW[:50], np.ones((50, 1), int)], axis=1)
    assert (idle.canonical(rows)[:, -1] == 0).all()
