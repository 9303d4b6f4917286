"""Between two measured image sizes a block's time is linear in the area; beyond them it is not known."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lut.blocks import Block, Conv, Linear, MBConv, Pool
from lut.importers import read_published
from lut.interpolation import SizeInterpolation
from lut.table import LatencyTable, MissingBlockError
from profilers.device import Fingerprint
from profilers.measurement import Visit
from profilers.rounds import Round

HERE = Fingerprint(
    machine="a phone", cores=8, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
)
BLOCKS: tuple[Block, ...] = (Conv(3, 8, 32, 3, 2, "relu"), MBConv(8, 8, 16, 24, 3, 1, True, "hswish"), Pool(8, 8, 16))
BODY, HEAD = BLOCKS[1], Linear(8, 10, 1)
afresh = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def table_of(folder: Path, times: Mapping[Block, float]) -> LatencyTable:
    path = folder / "table.jsonl"
    path.unlink(missing_ok=True)
    table = LatencyTable.open(path, "pixel", HERE)
    table.add_round(Round({block.key: Visit(ms, 0.125) for block, ms in times.items()}, frozenset()))
    return table


def at_sizes(block: Block, times: Mapping[int, float]) -> dict[Block, float]:
    return {replace(block, hw=hw): ms for hw, ms in times.items()}


times_by_size = st.dictionaries(st.integers(1, 200), st.floats(1e-3, 1e3), min_size=1, max_size=6)


@afresh
@given(times_by_size)
def test_measured_sizes_are_given_as_they_are(tmp_path: Path, times: dict[int, float]) -> None:
    table = table_of(tmp_path, at_sizes(BODY, times))
    sizes = SizeInterpolation(table)
    assert all(sizes.block_ms(block) == table.block_ms(block) for block in at_sizes(BODY, times))
    assert sizes.used == set()


@afresh
@given(
    block=st.sampled_from(BLOCKS),
    constant=st.integers(1, 100),
    per_area=st.integers(0, 10),
    measured=st.sets(st.integers(1, 200), min_size=2, max_size=6),
    data=st.data(),
)
def test_costs_linear_in_the_area_are_interpolated_exactly(
    tmp_path: Path, block: Block, constant: int, per_area: int, measured: set[int], data: st.DataObject
) -> None:
    sizes = SizeInterpolation(table_of(tmp_path, at_sizes(block, {hw: constant + per_area * hw**2 for hw in measured})))
    asked = data.draw(st.integers(min(measured), max(measured)))
    assert sizes.block_ms(replace(block, hw=asked)) == pytest.approx(constant + per_area * asked**2, rel=1e-12)
    assert sizes.used == set(at_sizes(block, {} if asked in measured else {asked: 0.0}))


@afresh
@given(times_by_size, st.integers(1, 250))
def test_an_interpolated_time_lies_between_its_neighbours_and_none_is_beyond_them(
    tmp_path: Path, times: dict[int, float], asked: int
) -> None:
    table, block = table_of(tmp_path, at_sizes(BODY, times)), replace(BODY, hw=asked)
    smaller, larger = [hw for hw in times if hw <= asked], [hw for hw in times if hw >= asked]
    sizes = SizeInterpolation(table)
    if not smaller or not larger:
        with pytest.raises(MissingBlockError) as lacking:
            sizes.block_ms(block)
        assert lacking.value.blocks == (block,) and not sizes.used
        return
    low, high = sorted(table.block_ms(replace(BODY, hw=hw)) for hw in (max(smaller), min(larger)))
    assert low <= sizes.block_ms(block) * (1 + 1e-12) and sizes.block_ms(block) <= high * (1 + 1e-12)


def test_halfway_in_area_is_halfway_in_time(tmp_path: Path) -> None:
    sizes = SizeInterpolation(table_of(tmp_path, at_sizes(BODY, {10: 1.0, 70: 3.0, 100: 90.0})))
    assert sizes.block_ms(replace(BODY, hw=50)) == pytest.approx(2.0)  # 50² lies halfway between 10² and 70²


@pytest.mark.parametrize("change", [{"kernel": 5}, {"stride": 2}, {"mid_chs": 48}, {"se": False}, {"act": "relu"}])
def test_other_blocks_at_other_sizes_say_nothing(tmp_path: Path, change: dict) -> None:
    others = at_sizes(replace(BODY, **change), {8: 1.0, 32: 2.0})
    sizes = SizeInterpolation(table_of(tmp_path, others | at_sizes(BODY, {8: 1.0})))
    with pytest.raises(MissingBlockError):
        sizes.block_ms(BODY)


def test_the_blocks_that_were_guessed_are_listed_once_and_no_others(tmp_path: Path) -> None:
    times = {block: ms for one in BLOCKS for block, ms in at_sizes(one, {8: 1.0, 64: 2.0}).items()}
    sizes = SizeInterpolation(table_of(tmp_path, times | {HEAD: 0.5}))
    asked = [replace(BODY, hw=16), replace(BODY, hw=8), HEAD, replace(BODY, hw=16), replace(BLOCKS[0], hw=32)]
    for block in asked:
        sizes.block_ms(block)
    assert sizes.used == {asked[0], asked[4]}
    with pytest.raises(MissingBlockError):
        sizes.block_ms(replace(BODY, hw=65))
    assert len(sizes.used) == 2


def test_a_table_itself_never_interpolates(tmp_path: Path) -> None:
    table = table_of(tmp_path, at_sizes(BODY, {8: 1.0, 32: 2.0}))
    assert SizeInterpolation(table).block_ms(BODY) > 1.0
    assert table.missing([BODY]) == [BODY]
    with pytest.raises(MissingBlockError):
        table.block_ms(BODY)


def test_what_a_phone_takes_at_192_pixels_is_found_between_160_and_224(tmp_path: Path, shared_data: Path) -> None:
    """Published times of once-for-all's blocks on a Note 10: two of three sizes tell the third within a few percent."""
    times = {
        hw: {e.block: e.ms for e in read_published("ofa", [shared_data / "ofa_note10" / f"{hw}_lookup_table.yaml"])}
        for hw in (160, 192, 224)
    }
    sizes = SizeInterpolation(table_of(tmp_path, times[160] | times[224]))
    off_pct = [100 * abs(sizes.block_ms(block) / ms - 1) for block, ms in times[192].items()]
    assert sizes.used == {block for block in times[192] if block.hw > 1}
    assert np.mean(off_pct) < 2 and max(off_pct) < 5
