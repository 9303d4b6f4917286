"""What a table keeps beside times, and files that older and later versions wrote."""

import datetime
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lut.blocks import Block, Conv, Linear, MBConv, Pool
from lut.table import LatencyTable
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import LEAST_CALM, Visit
from profilers.rounds import Round

HERE = Fingerprint(
    machine="a phone", cores=8, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
)
STEM = Conv(3, 8, 32, 3, 2, "relu")
BLOCKS: tuple[Block, ...] = (STEM, MBConv(8, 8, 16, 24, 3, 1, True, "hswish"), Pool(8, 8, 16), Linear(8, 10, 1))


@pytest.fixture
def table(tmp_path: Path) -> LatencyTable:
    return LatencyTable.open(tmp_path / "table.jsonl", "pixel", HERE)


def add_visits(table: LatencyTable, name: str, *visits: Visit) -> None:
    for visit in visits:
        table.add_round(Round({name: visit}, frozenset()))


def lines(table: LatencyTable) -> list[dict]:
    return [json.loads(line) for line in table.path.read_text().splitlines()]


def append(table: LatencyTable, *records: object) -> LatencyTable:
    """The table as it is read after others wrote into its file."""
    with table.path.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return LatencyTable.read(table.path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(preempted=st.lists(st.booleans(), min_size=1, max_size=10))
def test_visits_that_were_preempted_are_read_back_as_such(tmp_path: Path, preempted: list[bool]) -> None:
    path = tmp_path / "table.jsonl"
    path.unlink(missing_ok=True)
    written = LatencyTable.open(path, "pixel", HERE)
    visits = [Visit(1.0 + i, 0.125, found) for i, found in enumerate(preempted)]
    add_visits(written, STEM.key, *visits)
    assert written.visits == LatencyTable.read(path).visits == {STEM.key: visits}
    figures = [record["round"][STEM.key] for record in lines(written)[1:]]
    assert figures == [[v.ms, v.sentinel_ms, 1] if v.preempted else [v.ms, v.sentinel_ms] for v in visits]


def test_preempted_visits_do_not_price_a_block(table: LatencyTable) -> None:
    add_visits(table, STEM.key, *[Visit(1.0, 0.125)] * LEAST_CALM, *[Visit(0.5, 0.125, preempted=True)] * 30)
    assert table.block_ms(STEM) == LatencyTable.read(table.path).block_ms(STEM) == 1.0


def test_visits_of_two_figures_were_not_preempted_and_further_figures_are_passed_over(table: LatencyTable) -> None:
    figures = {"two": [1.0, 0.1], "none": [1.0, 0.1, 0], "later": [1.0, 0.1, 1, 45.0], "one": [1.0, 0.1, 1]}
    read = append(table, {"round": figures})
    assert {name: visit.preempted for name, (visit,) in read.visits.items()} == {
        "two": False, "none": False, "later": True, "one": True,
    }  # fmt: skip


def test_states_are_kept_in_order_with_the_time_they_were_taken_at(table: LatencyTable) -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    states = [{"load": 0.5, "max_mhz": 2500.0}, {}, {"max_celsius": 45.25}]
    for state in states:
        table.add_state(state)
    read = LatencyTable.read(table.path)
    assert read.states == table.states
    assert [{k: v for k, v in found.items() if k != "time"} for found in read.states] == states
    times = [datetime.datetime.fromisoformat(found["time"]) for found in read.states]
    assert before <= times[0] <= times[1] <= times[2] <= datetime.datetime.now(datetime.UTC)
    assert not read.visits and not list(read.blocks())


def add_nets(table: LatencyTable, count: int, per_block_ms: float) -> None:
    for block in BLOCKS:
        add_visits(table, block.key, *[Visit(1.0, 0.125)] * LEAST_CALM)
    for n in range(1, count + 1):
        table.add_net(f"net digits:{n}", BLOCKS[:1] * n)
        add_visits(table, f"net digits:{n}", *[Visit(0.25 + per_block_ms * n, 0.125)] * LEAST_CALM)


def test_a_calibration_is_kept_as_it_was_when_it_was_made(table: LatencyTable) -> None:
    add_nets(table, 8, per_block_ms=2.0)
    made = table.add_calibration("net digits:")
    assert made == table.calibration("net digits:") and made.per_ms == pytest.approx(2.0)
    told = {"count": 8, "mean_error_pct": made.mean_error_pct, "max_error_pct": made.max_error_pct}
    assert LatencyTable.read(table.path).calibrations == table.calibrations == {"net digits:": told}
    assert json.loads(table.path.read_bytes().splitlines()[-1]) == {"calibration": {
        "nets": "net digits:", **told, "constant_ms": made.constant_ms, "per_ms": made.per_ms,
        "per_block_ms": made.per_block_ms, "per_mparam_ms": made.per_mparam_ms,
    }}  # fmt: skip


def test_of_several_calibrations_on_the_same_nets_the_last_is_told(table: LatencyTable) -> None:
    add_nets(table, 6, per_block_ms=2.0)
    table.add_calibration("net digits:")
    table.add_net("net digits:7", BLOCKS[:1] * 7)
    add_visits(table, "net digits:7", *[Visit(99.0, 0.125)] * LEAST_CALM)
    last = table.add_calibration("net digits:")
    (kept,) = LatencyTable.read(table.path).calibrations.values()
    assert (kept["count"], kept["max_error_pct"]) == (7, last.max_error_pct)


def test_a_calibration_that_cannot_be_made_is_not_kept(table: LatencyTable) -> None:
    add_nets(table, 5, per_block_ms=2.0)
    before = table.path.read_bytes()
    with pytest.raises(InvalidInputError, match="needs 6 measured whole nets and has 5"):
        table.add_calibration("net digits:")
    assert table.path.read_bytes() == before


def test_what_later_versions_add_is_passed_over(table: LatencyTable) -> None:
    add_visits(table, STEM.key, Visit(1.0, 0.125))
    read = append(
        table,
        {"weather": {"celsius": 21}},
        {"state": {"time": "2031-01-01T00:00:00+00:00", "humidity": "high"}},
        {"calibration": {"nets": "net later:", "count": 6, "mean_error_pct": 1, "max_error_pct": 2, "terms": ["macs"]}},
    )
    assert read.visits == table.visits and list(read.blocks()) == [STEM]
    assert read.states[0]["humidity"] == "high" and set(read.calibrations) == {"net later:"}


@pytest.mark.parametrize(
    "record",
    [
        {"state": 21.0},
        {"state": None},
        {"state": "calm"},
        {"calibration": {"mean_error_pct": 1.0}},
        {"calibration": {"nets": "net digits:", "mean_error_pct": 1.0, "max_error_pct": 2.0}},
        {"calibration": ["net digits:"]},
        {"calibration": None},
    ],
)
def test_a_record_that_says_nothing_usable_is_refused_as_damage(table: LatencyTable, record: object) -> None:
    with pytest.raises(InvalidInputError, match="is damaged"):
        append(table, record)


def test_the_blocks_of_a_table_are_what_has_a_time_and_is_no_net(table: LatencyTable) -> None:
    add_nets(table, 6, per_block_ms=2.0)
    assert list(table.blocks()) == list(BLOCKS)
    unnamed = append(table, {"round": {"net digits:unnamed": [1.0, 0.125]}})  # what it consists of was not said
    assert list(unnamed.blocks()) == list(BLOCKS)


NO_NETS = [
    {"name": "n", "blocks": []},
    {"name": "n", "blocks": [[1]]},
    {"name": 3, "blocks": ["a"]},
    {"name": "n"},
    ["n"],
]


@pytest.mark.parametrize("net", NO_NETS)
def test_a_net_that_is_none_is_damage(table: LatencyTable, net: object) -> None:
    with pytest.raises(InvalidInputError, match="is damaged"):
        append(table, {"net": net})
