"""A table gives back what was measured, lists what it lacks, and never mixes devices."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lut.blocks import Block, Conv, Linear, MBConv, Pool
from lut.comparison import relative_costs
from lut.table import LatencyTable, MissingBlockError
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import Plan, Visit
from profilers.rounds import Round

HERE = Fingerprint(
    machine="a phone", cores=8, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
)
STEM, BODY = Conv(3, 8, 32, 3, 2, "relu"), MBConv(8, 8, 16, 24, 3, 1, True, "hswish")
POOL, HEAD = Pool(8, 8, 16), Linear(8, 10, 1)
BLOCKS: tuple[Block, ...] = (STEM, BODY, POOL, HEAD)


def table_at(path: Path) -> LatencyTable:
    return LatencyTable.open(path, "pixel", HERE)


def add_times(table: LatencyTable, times: dict[str, float], rounds: int = 12, sentinel_ms: float = 0.125) -> None:
    for _ in range(rounds):
        table.add_round(Round({name: Visit(ms, sentinel_ms) for name, ms in times.items()}, frozenset()))


@pytest.fixture
def table(tmp_path: Path) -> LatencyTable:
    """Blocks that cost 1, 2, 4 and 8 ms."""
    made = table_at(tmp_path / "table.jsonl")
    add_times(made, {block.key: 2.0**i for i, block in enumerate(BLOCKS)})
    return made


times = st.floats(1e-4, 1e4)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(BLOCKS), st.tuples(times, times)), max_size=6))
def test_what_was_added_is_read_back_to_six_digits(tmp_path: Path, rounds: list[dict]) -> None:
    path = tmp_path / "table.jsonl"
    path.unlink(missing_ok=True)
    written = table_at(path)
    for found in rounds:
        written.add_round(Round({b.key: Visit(*pair) for b, pair in found.items()}, frozenset()))
    read = LatencyTable.read(path)
    assert read.visits == written.visits and read.fingerprint == HERE and read.device_name == "pixel"
    for block in BLOCKS:
        added = [pair for found in rounds for b, pair in found.items() if b == block]
        kept = [(visit.ms, visit.sentinel_ms) for visit in read.visits.get(block.key, [])]
        assert kept == [pytest.approx(pair, rel=1e-5) for pair in added]
        assert read.measurement(block.key) == written.measurement(block.key)


def test_a_table_is_priced_by_lower_quartiles(table: LatencyTable) -> None:
    assert [table.block_ms(block) for block in BLOCKS] == [1, 2, 4, 8]
    assert table.latency_ms(BLOCKS) == 15
    assert table.latency_ms([BODY, BODY]) == 4 and table.latency_ms([]) == 0
    add_times(table, {STEM.key: 3.0}, rounds=33)
    assert table.block_ms(STEM) == 1  # 12 of 45
    add_times(table, {STEM.key: 3.0}, rounds=4)
    assert table.block_ms(STEM) == 3  # 12 of 49


def test_busy_visits_do_not_count(table: LatencyTable) -> None:
    add_times(table, {STEM.key: 1.7}, rounds=60, sentinel_ms=0.1625)
    assert table.block_ms(STEM) == 1.0


def test_a_calmer_moment_changes_what_is_calm_for_all(table: LatencyTable) -> None:
    assert table.calm_ms == 0.125
    add_times(table, {HEAD.key: 4.0}, rounds=60, sentinel_ms=0.0625)
    assert table.calm_ms == 0.0625
    assert table.block_ms(STEM) == pytest.approx(0.5)  # only seen when the device ran at half its speed


def test_the_calmest_batch_says_what_is_calm_however_few_of_all_visits_it_has(table: LatencyTable) -> None:
    for sentinel_ms, rounds in ((0.125, 2000), (0.0625, 120), (0.03, 20)):
        table.add_state({})
        add_times(table, {HEAD.key: 4.0}, rounds=rounds, sentinel_ms=sentinel_ms)
    assert table.calm_ms == LatencyTable.read(table.path).calm_ms == 0.0625  # the last one is too small to be believed
    found = table.measurement(STEM.key)
    assert found and found.calm_visits == 0 and found.interval_ms[0] < 0.5 < found.interval_ms[1]


def test_missing_blocks_are_all_listed_and_never_guessed(table: LatencyTable) -> None:
    others = [replace(STEM, kernel=5), replace(STEM, kernel=7), replace(BODY, se=False)]
    assert table.missing([*BLOCKS, *others]) == others
    with pytest.raises(MissingBlockError, match="lacks 3 of the blocks") as lacking:
        table.latency_ms([others[0], *BLOCKS, *others[1:]])
    assert lacking.value.blocks == tuple(others) and others[0].key in str(lacking.value)
    with pytest.raises(MissingBlockError) as lacking:
        table.block_ms(others[2])
    assert lacking.value.blocks == (others[2],) and lacking.value.exit_code == 3
    assert table.measurement(others[0].key) is None


@pytest.mark.parametrize(
    ("field", "other"),
    [("machine", "another phone"), ("cores", 4), ("runtime", "onnxruntime"), ("runtime_version", "2"),
     ("precision", "int8"), ("threads", 2), ("batch", 8), ("cpus", "0,1"), ("hswish", "split"), ("clock", "cpu")],
)  # fmt: skip
def test_a_table_of_another_fingerprint_is_refused_naming_the_difference(
    table: LatencyTable, field: str, other: object
) -> None:
    before = table.path.read_bytes()
    with pytest.raises(InvalidInputError, match="times are never mixed") as refused:
        LatencyTable.open(table.path, "pixel", replace(HERE, **{field: other}))
    assert f"({field} {getattr(HERE, field)!r} against {other!r})" in str(refused.value)
    assert table.path.read_bytes() == before


def test_reading_a_table_that_is_not_there_is_refused_and_creates_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        LatencyTable.read(tmp_path / "none.jsonl")
    assert list(tmp_path.iterdir()) == []


def append_line(path: Path, record: object) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def test_kinds_of_records_that_are_not_known_are_passed_over(table: LatencyTable) -> None:
    append_line(table.path, {"weather": {"celsius": 21}})
    append_line(table.path, {"round": {STEM.key: [1.0, 0.1]}, "taken": "at night"})
    again = LatencyTable.read(table.path)
    assert again.latency_ms(BLOCKS) == 15 and len(again.visits[STEM.key]) == 13


@pytest.mark.parametrize(
    "record",
    [
        {"round": {STEM.key: [0.0, 0.1]}},
        {"round": {STEM.key: [1.0, -0.1]}},
        {"round": {STEM.key: [float("nan"), 0.1]}},
        {"round": {STEM.key: [float("inf"), 0.1]}},
        {"round": {STEM.key: ["1.0", 0.1]}},
        {"round": {STEM.key: [1.0]}},
        {"round": {STEM.key: 1.0}},
        {"round": [1.0, 0.1]},
        {"round": None},
        {"net": {"name": "net digits:1"}},
        {"net": ["net digits:1"]},
    ],
)
def test_a_record_that_says_nothing_usable_is_refused_as_damage(table: LatencyTable, record: object) -> None:
    append_line(table.path, record)
    with pytest.raises(InvalidInputError, match="is damaged"):
        LatencyTable.read(table.path)


def test_a_header_without_a_fingerprint_is_refused_as_damage(tmp_path: Path) -> None:
    for header in ({"device": "pixel"}, {"device": "pixel", "fingerprint": {"machine": "a phone"}}, {}):
        path = tmp_path / "table.jsonl"
        path.write_text(json.dumps({"format": "hwnas-table", "version": 1, **header}) + "\n")
        with pytest.raises(InvalidInputError, match="is damaged"):
            LatencyTable.read(path)


@pytest.mark.parametrize("visit", [Visit(0.0, 0.1), Visit(-1.0, 0.1), Visit(1.0, 0.0), Visit(float("nan"), 0.1)])
def test_an_impossible_time_gets_neither_into_the_table_nor_into_its_file(table: LatencyTable, visit: Visit) -> None:
    before = table.path.read_bytes()
    with pytest.raises(ValueError, match="took"):
        table.add_round(Round({BODY.key: Visit(2.0, 0.1), STEM.key: visit}, frozenset()))
    assert table.path.read_bytes() == before and len(table.visits[BODY.key]) == 12
    assert LatencyTable.read(table.path).latency_ms(BLOCKS) == 15


def test_pending_are_those_without_a_narrow_interval_in_the_order_asked(table: LatencyTable) -> None:
    for ms in np.linspace(1, 2, 20):
        add_times(table, {"noisy": float(ms)}, rounds=1)
    add_times(table, {"short": 1.0}, rounds=9)
    names = ["unknown", STEM.key, "short", HEAD.key, "noisy"]
    assert table.pending(names, Plan(target_pct=1.0, min_samples=10)) == ["unknown", "short", "noisy"]


def test_a_net_is_kept_with_its_blocks_and_named_once(table: LatencyTable) -> None:
    table.add_net("net digits:1", BLOCKS)
    before = table.path.read_bytes()
    table.add_net("net digits:1", BLOCKS)
    assert table.path.read_bytes() == before
    assert LatencyTable.read(table.path).nets == {"net digits:1": tuple(block.key for block in BLOCKS)}


def test_a_writer_takes_in_what_another_process_added(table: LatencyTable) -> None:
    other, kernel5, before = table_at(table.path), replace(STEM, kernel=5), table.content_hash
    with other.writing():
        add_times(other, {kernel5.key: 3.0})
    with table.writing():
        assert table.block_ms(kernel5) == 3.0 and table.content_hash != before
        add_times(table, {HEAD.key: 8.0})
    assert LatencyTable.read(table.path).latency_ms([*BLOCKS, kernel5]) == 18


def test_the_content_hash_is_that_of_the_file_as_it_is_now(table: LatencyTable) -> None:
    before = table.content_hash
    add_times(table, {STEM.key: 1.0}, rounds=1)
    assert table.content_hash != before == table_hash_without_last_line(table.path)


def table_hash_without_last_line(path: Path) -> str:
    shorter = path.with_name("shorter.jsonl")
    shorter.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return LatencyTable.read(shorter).content_hash


def test_calibration_relates_blocks_to_the_nets_of_one_prefix(table: LatencyTable) -> None:
    chosen = [[BLOCKS[i] for i in np.flatnonzero([n >> i & 1 for i in range(4)])] for n in range(1, 16)]
    for n, blocks in enumerate(chosen):
        table.add_net(f"net digits:{n}", blocks)
        mparams = sum(block.params for block in blocks) / 1e6
        ms = 0.5 + 1.25 * table.latency_ms(blocks) + 0.25 * len(blocks) + 40.0 * mparams
        add_times(table, {f"net digits:{n}": ms})
        table.add_net(f"net other:{n}", blocks)
    fit = table.calibration("net digits:")
    assert fit.per_ms == pytest.approx(1.25, rel=1e-3) and fit.per_block_ms == pytest.approx(0.25, rel=1e-3)
    assert fit.constant_ms == pytest.approx(0.5, rel=1e-3) and fit.per_mparam_ms == pytest.approx(40.0, rel=0.01)
    assert len(fit.errors_pct) == 15
    with pytest.raises(InvalidInputError, match="has 0"):
        table.calibration("net other:")  # known, never timed


def test_calibration_of_nets_whose_blocks_lack_says_which(table: LatencyTable) -> None:
    unmeasured = replace(STEM, kernel=7)
    table.add_net("net digits:1", [unmeasured, HEAD])
    add_times(table, {"net digits:1": 9.0})
    with pytest.raises(MissingBlockError) as lacking:
        table.calibration("net digits:")
    assert lacking.value.blocks == (unmeasured,)


def test_relative_costs_put_the_greatest_disagreement_first(table: LatencyTable, tmp_path: Path) -> None:
    second = table_at(tmp_path / "second.jsonl")
    add_times(second, {STEM.key: 3.0, BODY.key: 6.0, POOL.key: 12.0, HEAD.key: 2.4, "only here": 1.0})
    costs = relative_costs(table, second)  # three times as slow, but ten times faster than that on the head
    assert costs[0] == (HEAD.key, 8.0, 2.4, pytest.approx(0.1))
    assert {name: ratio for name, _, _, ratio in costs[1:]} == {b.key: pytest.approx(1.0) for b in (STEM, BODY, POOL)}


def test_tables_without_a_common_entry_are_not_compared(table: LatencyTable, tmp_path: Path) -> None:
    second = table_at(tmp_path / "second.jsonl")
    with pytest.raises(InvalidInputError, match="no entry in common"):
        relative_costs(table, second)
