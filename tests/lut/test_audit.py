"""What speaks against a table is found, and only that."""

import datetime

import pytest

from lut.audit import ages, inverted, unsteady
from lut.blocks import MBConv
from lut.table import LatencyTable
from profilers.device import Fingerprint
from profilers.measurement import Visit
from profilers.rounds import Round

HERE = Fingerprint(
    machine="a phone", cores=8, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
)


def block(kernel=3, mid_chs=24, **others):
    facts = {"in_chs": 8, "out_chs": 8, "hw": 16, "stride": 1, "se": False, "act": "relu"} | others
    return MBConv(mid_chs=mid_chs, kernel=kernel, **facts)


@pytest.fixture
def table(tmp_path):
    return LatencyTable.open(tmp_path / "table.jsonl", "phone", HERE)


def add_batch(table, times, *, spread=0.0, count=12, sentinel_ms=0.125):
    """A batch of rounds in which blocks take this on average, give or take `spread` of it."""
    table.add_state({})
    for number in range(count):
        swing = 1 + spread * (2 * number / (count - 1) - 1)
        table.add_round(Round({b.key: Visit(ms * swing, sentinel_ms) for b, ms in times.items()}, frozenset()))
    table.add_state({})


def test_an_entry_that_two_batches_disagree_on_contradicts_itself(table):
    steady, moved = block(3), block(5)
    add_batch(table, {steady: 1.0, moved: 2.0})
    assert unsteady(table, [steady, moved]) == []
    add_batch(table, {steady: 1.04, moved: 2.2})
    (found,) = unsteady(LatencyTable.read(table.path), [steady, moved])
    assert found.names == (moved.key,) and "2 ms" in found.why and "2.2 ms" in found.why


def test_batches_whose_intervals_come_near_do_not_contradict_each_other(table):
    wide = block()
    add_batch(table, {wide: 1.0}, spread=0.2)
    add_batch(table, {wide: 1.15}, spread=0.2)
    assert unsteady(table, [wide]) == []


def test_a_busy_batch_is_no_witness(table):
    found = block()
    add_batch(table, {found: 1.0})
    add_batch(table, {found: 1.7}, sentinel_ms=0.2)
    assert unsteady(table, [found]) == []


@pytest.mark.parametrize(("small", "large"), [(block(3), block(5)), (block(5), block(7)), (block(3, 24), block(3, 48))])
def test_a_block_that_is_dearer_than_a_larger_one_is_named_with_it(table, small, large):
    add_batch(table, {small: 2.0, large: 1.0})
    (found,) = inverted(table, [large, small])
    assert found.names == (small.key, large.key)


@pytest.mark.parametrize(
    "other", [block(5, 48), block(5, stride=2), block(5, se=True), block(5, hw=32), block(5, act="hswish")]
)
def test_blocks_that_differ_in_more_than_one_size_are_not_compared(table, other):
    add_batch(table, {block(3): 2.0, other: 1.0})
    assert inverted(table, [block(3), other]) == []


def test_a_block_that_is_a_little_dearer_than_a_larger_one_is_not_named(table):
    add_batch(table, {block(3): 1.04, block(5): 1.0})
    assert inverted(table, [block(3), block(5)]) == []


def test_of_blocks_in_order_of_size_none_is_named(table):
    sizes = {block(kernel, mid): kernel * mid / 100 for kernel in (3, 5, 7) for mid in (24, 32, 48)}
    add_batch(table, sizes)
    assert inverted(table, sizes) == [] == unsteady(table, sizes)


def test_entries_are_as_old_as_the_batch_that_measured_them_last(table):
    old, new, never, undated = block(3), block(5), block(7), block(3, 48)
    text = table.path.read_text()
    add_batch(table, {old: 1.0, new: 1.0})
    add_batch(table, {new: 1.0})
    first, second = table.states[0]["time"], table.states[2]["time"]
    rest = table.path.read_text().removeprefix(text)
    assert first == second or first in rest
    rewritten = rest.replace(first, "2026-01-01T00:00:00+00:00", 2)
    table.path.write_text(text + f'{{"round":{{"{undated.key}":[1.0,0.1]}}}}\n' + rewritten)
    now = datetime.datetime.fromisoformat(second) + datetime.timedelta(hours=12)
    found = ages(LatencyTable.read(table.path), [old, new, never, undated], now)
    assert set(found) == {old, new}
    assert found[new] == datetime.timedelta(hours=12)
    assert found[old] == now - datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize("time", ['"yesterday"', "7", "null"])
def test_a_state_whose_time_says_nothing_leaves_the_age_open(table, time):
    found = block()
    add_batch(table, {found: 1.0})
    table.path.write_text(table.path.read_text().replace(f'"{table.states[0]["time"]}"', time))
    assert ages(LatencyTable.read(table.path), [found], datetime.datetime.now(datetime.UTC)) == {}
