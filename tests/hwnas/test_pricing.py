"""Prices of whole populations are the sums they stand for, and the least of them is the least there is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.pricing import evenly_spread, latency_model, net_name
from hwnas.space import Dimension
from hwnas.spaces import open_space
from hwnas.spaces.ofa_mbv3 import MobileNetV3Space
from lut.calibration import Calibration
from lut.compiled import Compiled
from lut.latency_model import LatencyModel
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


def test_evenly_spread_architectures_reach_both_ends_and_leave_no_wide_gap():
    macs = Compiled.of(DIGITS, lambda block: block.macs)
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
    for name in ("sizes", "factors", "vocabulary", "smallest", "largest", "_deciding", "_canonical"):
        idle.__dict__.pop(name, None)
    rows = np.concatenate([EVERY_ROW[:50], np.ones((50, 1), int)], axis=1)
    assert (idle.canonical(rows)[:, -1] == 0).all()


def exact(constant_ms, per_ms, per_block_ms, per_mparam_ms):
    return Calibration(
        constant_ms=constant_ms, per_ms=per_ms, per_block_ms=per_block_ms, per_mparam_ms=per_mparam_ms, errors_pct=(0,)
    )


calibrations = st.builds(exact, *[st.floats(-0.5, 5), st.floats(0.1, 3), st.floats(-0.1, 1), st.floats(-1, 3)])


def model_of(space, costs, calibration):
    cost = Compiled.of(
        space, lambda block: calibration.block_ms((costs[block], block.params)), constant=calibration.constant_ms
    )
    return LatencyModel(cost, calibration)


def slow_ms(space, costs, calibration, rows):
    """Each architecture's latency, block by block."""
    nets = [[(costs[b], b.params) for b in space.layers(space.arch(row)).values()] for row in rows]
    return [calibration.latency_ms(net) for net in nets]


@given(st.integers(0, 2**32 - 1), calibrations)
@settings(max_examples=25, deadline=None)
def test_a_population_takes_what_the_calibration_makes_of_each_nets_blocks(seed, calibration):
    costs, rows = random_costs(DIGITS, seed), DIGITS.sample(30, np.random.default_rng(seed))
    model = model_of(DIGITS, costs, calibration)
    np.testing.assert_allclose(model.latency_ms(rows), slow_ms(DIGITS, costs, calibration, rows), rtol=1e-10)


@given(st.integers(0, 2**32 - 1), calibrations)
@settings(max_examples=15, deadline=None)
def test_the_least_latency_is_that_of_an_exhaustive_search(seed, calibration):
    model = model_of(SMALL, random_costs(SMALL, seed), calibration)
    least_ms, row = model.least()
    assert least_ms == pytest.approx(model.latency_ms(EVERY_ROW).min(), rel=1e-12)
    assert model.latency_ms(row[None])[0] == least_ms


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
    assert model.calibration.max_error_pct < 0.01 and model.guessed == frozenset()
    np.testing.assert_allclose(model.latency_ms(EVERY_ROW), slow_ms(SMALL, costs, calibration, EVERY_ROW), rtol=1e-4)


def area_costs(space):
    """A device on which a block costs a constant and so much for each pixel of its input."""
    return {block: 0.125 + block.in_chs * block.hw**2 / 1024 for block in space.vocabulary}


def test_sizes_between_measured_ones_are_priced_only_where_that_is_asked_for(tmp_path):
    measured, between, calibration = small(32, 64), small(48), exact(0.5, 0.75, 0.0, 0.0)
    table = table_of(tmp_path, measured, area_costs(measured), calibration)
    lacking = [block for block in between.vocabulary if block not in measured.vocabulary]
    with pytest.raises(InvalidInputError, match=f"lacks {len(lacking)} of the {len(between.vocabulary)} blocks"):
        latency_model(table, between)
    model = latency_model(table, between, guess="sizes")
    assert model.guessed == set(lacking)
    rows = between.sample(20, np.random.default_rng(0))
    np.testing.assert_allclose(
        model.latency_ms(rows), slow_ms(between, area_costs(between), calibration, rows), rtol=1e-4
    )


def test_what_was_measured_is_not_interpolated_though_that_be_asked_for(tmp_path):
    space = small(32, 64)
    table = table_of(tmp_path, space, area_costs(space), exact(0.5, 0.75, 0.0, 0.0))
    plain, asked = latency_model(table, space), latency_model(table, space, guess="sizes")
    rows = space.sample(20, np.random.default_rng(0))
    assert asked.guessed == frozenset() and (asked.latency_ms(rows) == plain.latency_ms(rows)).all()


@pytest.mark.parametrize("hw", [16, 80])
def test_sizes_beyond_the_measured_ones_are_refused_with_the_command_that_measures_them(tmp_path, hw):
    space = small(32, 64)
    table = table_of(tmp_path, space, area_costs(space), exact(0.5, 0.75, 0.0, 0.0))
    with pytest.raises(InvalidInputError, match=f"measure with: hwnas profile .* --resolution {hw}$"):
        latency_model(table, small(hw), guess="sizes")
