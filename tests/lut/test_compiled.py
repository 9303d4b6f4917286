"""Compiled costs are the sums they stand for to the last bit, and the least of them is the least there is."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.spaces import open_space
from lut.compiled import Compiled, on_grid
from lut.table import LatencyTable, MissingBlockError
from profilers.device import Fingerprint
from profilers.measurement import Visit
from profilers.rounds import Round

from ..kit import small

DIGITS = open_space("digits")
OFA = open_space("ofa-mbv3@1.2", resolutions=(160, 192, 224))
SMALL = small(16, 24)
EVERY_ROW = np.array(list(product(*map(range, SMALL.sizes))))

seeds = st.integers(0, 2**32 - 1)


def random_costs(space, seed):
    values = np.random.default_rng(seed).uniform(0.01, 5, len(space.vocabulary))
    return dict(zip(space.vocabulary, values, strict=True))


def blocks_of(space, row):
    return space.layers(space.arch(row)).values()


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_population_costs_what_its_blocks_cost_to_the_last_bit(seed):
    for space in (SMALL, DIGITS, OFA):
        costs = random_costs(space, seed)
        rows = space.sample(40, np.random.default_rng(seed))
        slow = [math.fsum(on_grid(costs[block]) for block in blocks_of(space, row)) for row in rows]
        assert Compiled.of(space, costs.__getitem__)(rows).tolist() == slow


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_most_that_any_block_takes_is_found_the_same_way(seed):
    for space in (SMALL, DIGITS, OFA):
        costs = random_costs(space, seed)
        rows = space.sample(40, np.random.default_rng(seed))
        slow = [max(on_grid(costs[block]) for block in blocks_of(space, row)) for row in rows]
        assert Compiled.of(space, costs.__getitem__, most=True)(rows).tolist() == slow


def exchanged(space, row):
    """Every architecture that one exchange makes of a row, in the order of columns."""
    rows = np.tile(row, (sum(space.sizes), 1))
    dims = np.repeat(np.arange(len(space.sizes)), space.sizes)
    rows[np.arange(len(rows)), dims] = np.concatenate([np.arange(size) for size in space.sizes])
    return rows


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_what_single_exchanges_add_is_what_the_exchanged_cost_more_to_the_last_bit(seed):
    for space in (SMALL, DIGITS, OFA):
        cost = Compiled.of(space, random_costs(space, seed).__getitem__)
        rows = space.sample(5, np.random.default_rng(seed))
        slow = [cost(exchanged(space, row)) - cost(row[None]) for row in rows]
        assert cost.exchanged(rows).tolist() == np.array(slow).tolist()


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_what_single_exchanges_add_to_the_largest_block_is_known_and_what_they_save_is_not_promised(seed):
    for space in (SMALL, DIGITS, OFA):
        cost = Compiled.of(space, random_costs(space, seed).__getitem__, most=True)
        rows = space.sample(5, np.random.default_rng(seed))
        slow = np.array([cost(exchanged(space, row)) - cost(row[None]) for row in rows])
        assert cost.exchanged(rows).tolist() == np.maximum(slow, 0).tolist()


@given(seeds, st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_least_cost_is_that_of_an_exhaustive_search(seed, most):
    cost = Compiled.of(SMALL, random_costs(SMALL, seed).__getitem__, most=most)
    least, row = cost.least()
    assert least == cost(EVERY_ROW).min() == cost(row[None])[0]
    assert (SMALL.canonical(row[None])[0] == row).all()


def test_the_least_cost_is_found_where_smaller_is_not_cheaper():
    """A device on which the smallest kernel is the dearest: the smallest architecture is not the answer."""
    dear = {block: 10.0 if getattr(block, "kernel", 0) == 3 else 1.0 for block in DIGITS.vocabulary}
    cost = Compiled.of(DIGITS, dear.__getitem__)
    assert cost.least()[0] < cost(DIGITS.row(DIGITS.smallest)[None])[0]


def test_integer_costs_of_whole_spaces_are_exact():
    space = open_space("ofa-mbv3")
    macs = Compiled.of(space, lambda block: block.macs)
    rows = space.sample(100, np.random.default_rng(0))
    assert macs(rows).tolist() == [sum(b.macs for b in blocks_of(space, row)) for row in rows]


@given(seeds, st.integers(1, 7000))
@settings(max_examples=10, deadline=None)
def test_what_an_architecture_costs_does_not_depend_on_its_company(seed, count):
    """Populations are priced in chunks; where one begins must not show."""
    cost = Compiled.of(OFA, random_costs(OFA, seed).__getitem__, constant=0.1)
    rows = OFA.sample(7000, np.random.default_rng(0))
    assert (cost(rows)[:count] == cost(rows[:count])).all()
    assert len(cost(rows[:0])) == 0


@given(st.lists(st.floats(0, 100), min_size=2, max_size=50), st.randoms())
def test_values_on_the_grid_sum_to_the_same_in_any_order(values, random):
    values = on_grid(values).tolist()
    shuffled = random.sample(values, len(values))
    assert sum(values) == sum(shuffled) == math.fsum(values)


def test_a_table_compiled_for_a_space_prices_its_nets_as_the_table_does_to_the_last_bit(tmp_path):
    table = table_with(tmp_path, DIGITS, random_costs(DIGITS, 1))
    rows = DIGITS.sample(200, np.random.default_rng(2))
    slow = [table.latency_ms(blocks_of(DIGITS, row)) for row in rows]
    assert table.compile(DIGITS).latency_ms(rows).tolist() == slow


def test_a_table_that_lacks_blocks_is_not_compiled_and_names_them_all(tmp_path):
    costs = random_costs(DIGITS, 1)
    lacking = set(list(costs)[3:8])
    table = table_with(tmp_path, DIGITS, {block: ms for block, ms in costs.items() if block not in lacking})
    with pytest.raises(MissingBlockError) as caught:
        table.compile(DIGITS)
    assert set(caught.value.blocks) == lacking


def table_with(folder, space, costs):
    here = Fingerprint(
        machine="here", cores=1, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
    )
    table = LatencyTable.open(folder / "table.jsonl", "toy", here)
    table.add_round(Round({block.key: Visit(ms, 0.125) for block, ms in costs.items()}, frozenset()))
    return table
