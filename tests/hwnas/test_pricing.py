"""Prices of whole populations are the sums they stand for, and the least of them is the least there is."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.pricing import AdditiveCost, LatencyModel, evenly_spread, latency_model, net_name
from hwnas.space import Dimension
from hwnas.spaces import open_space
from hwnas.spaces.ofa_mbv3 import MobileNetV3Space
from lut.calibration import Calibration
from lut.table import LatencyTable
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import Visit
from profilers.rounds import Round

from ..kit import small

DIGITS = open_space("digits")


SMALL = small(16, 24)
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


def exact(constant_ms, per_ms, per_block_ms, per_mparam_ms):
    return Calibration(
        constant_ms=constant_ms, per_ms=per_ms, per_block_ms=per_block_ms, per_mparam_ms=per_mparam_ms, errors_pct=(0,)
    )


calibrations = st.builds(exact, *[st.floats(-0.5, 5), st.floats(0.1, 3), st.floats(-0.1, 1), st.floats(-1, 3)])


def model_of(space, costs, calibration):
    added = AdditiveCost(space, lambda block: calibration.block_ms((costs[block], block.params)))
    return LatencyModel(added, calibration)


def slow_ms(space, costs, calibration, rows):
    """Each architecture's latency, block by block."""
    nets = [[(costs[b], b.params) for b in space.layers(space.arch(row)).values()] for row in rows]
    return [calibration.latency_ms(net) for net in nets]


@given(st.integers(0, 2**32 - 1), calibrations)
@settings(max_examples=25, deadline=None)
def test_a_population_takes_what_the_calibration_makes_of_each_nets_blocks(seed, calibration):
    costs, rows = random_costs(DIGITS, seed), DIGITS.sample(30, np.random.default_rng(seed))
    model = model_of(DIGITS, costs, calibration)
    np.testing.assert_allclose(model(rows), slow_ms(DIGITS, costs, calibration, rows), rtol=1e-10)


@given(st.integers(0, 2**32 - 1), calibrations)
@settings(max_examples=15, deadline=None)
def test_the_least_latency_is_that_of_an_exhaustive_search(seed, calibration):
    model = model_of(SMALL, random_costs(SMALL, seed), calibration)
    least_ms, arch = model.least()
    assert least_ms == pytest.approx(model(EVERY_ROW).min(), rel=1e-12)
    assert model(SMALL.row(arch)[None])[0] == least_ms


def table_of(path, space, costs, calibration, nets=24):
    """A table in which blocks cost this, and whole nets what the calibration makes of them."""
    here = Fingerprint(
        machine="here", cores=1, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
    )
    table = LatencyTable.open(path / f"{len(costs)}.jsonl", "toy", here)
    rows = evenly_spread(space, nets, np.random.default_rng(0))
    times = {block.key: ms for block, ms in costs.items()}
    for row, ms in zip(rows, slow_ms(space, costs, calibration, rows), strict=True):
        table.add_net(net_name(space.arch(row)), space.layers(space.arch(row)).values())
        times[net_name(space.arch(row))] = ms
    table.add_round(Round({name: Visit(ms, 0.125) for name, ms in times.items()}, frozenset()))
    return table


@pytest.mark.parametrize("seed", range(3))
def test_a_tables_model_predicts_nets_that_were_never_measured(tmp_path, seed):
    costs, calibration = random_costs(SMALL, seed), exact(0.5, 0.75, 0.25, 2.0)
    model = latency_model(table_of(tmp_path, SMALL, costs, calibration), SMALL)
    assert model.calibration.max_error_pct < 0.01 and model.interpolated == frozenset()
    np.testing.assert_allclose(model(EVERY_ROW), slow_ms(SMALL, costs, calibration, EVERY_ROW), rtol=1e-4)


def area_costs(space):
    """A device on which a block costs a constant and so much for each pixel of its input."""
    return {block: 0.125 + block.in_chs * block.hw**2 / 1024 for block in space.vocabulary}


def test_sizes_between_measured_ones_are_priced_only_where_that_is_asked_for(tmp_path):
    measured, between, calibration = small(32, 64), small(48), exact(0.5, 0.75, 0.0, 0.0)
    table = table_of(tmp_path, measured, area_costs(measured), calibration)
    lacking = [block for block in between.vocabulary if block not in measured.vocabulary]
    with pytest.raises(InvalidInputError, match=f"lacks {len(lacking)} of the {len(between.vocabulary)} blocks"):
        latency_model(table, between)
    model = latency_model(table, between, interpolate=True)
    assert model.interpolated == set(lacking)
    rows = between.sample(20, np.random.default_rng(0))
    np.testing.assert_allclose(model(rows), slow_ms(between, area_costs(between), calibration, rows), rtol=1e-4)


def test_what_was_measured_is_not_interpolated_though_that_be_asked_for(tmp_path):
    space = small(32, 64)
    table = table_of(tmp_path, space, area_costs(space), exact(0.5, 0.75, 0.0, 0.0))
    plain, asked = latency_model(table, space), latency_model(table, space, interpolate=True)
    rows = space.sample(20, np.random.default_rng(0))
    assert asked.interpolated == frozenset() and (asked(rows) == plain(rows)).all()


@pytest.mark.parametrize("hw", [16, 80])
def test_sizes_beyond_the_measured_ones_are_refused_with_the_command_that_measures_them(tmp_path, hw):
    space = small(32, 64)
    table = table_of(tmp_path, space, area_costs(space), exact(0.5, 0.75, 0.0, 0.0))
    with pytest.raises(InvalidInputError, match=f"measure with: hwnas profile .* --resolution {hw}$"):
        latency_model(table, small(hw), interpolate=True)
