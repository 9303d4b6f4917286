"""Published tables: their keys are our blocks, one to one, and what is kept of them prices nets as a plain sum."""

import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from hwnas.spaces import open_space
from lut.blocks import Block, Conv, Linear, MBConv, Pool
from lut.calibration import PLAIN_SUM
from lut.published import PublishedEntry, published_fingerprint
from lut.table import LatencyTable
from profilers.errors import InvalidInputError
from profilers.measurement import Visit
from profilers.rounds import Round

INVERTED_RESIDUAL = re.compile(
    r"expanded_conv-input:(?P<hw>\d+)x\d+x(?P<i>\d+)-output:(?P<out_hw>\d+)x\d+x(?P<o>\d+)-expand:(?P<mid>\d+)"
    r"-kernel:(?P<k>\d+)-stride:(?P<s>\d+)-idskip:(?P<skip>\d)-se:(?P<se>\d)-hs:(?P<hs>\d)"
)


def published_keys(path: Path) -> list[str]:
    return [line.rstrip().removesuffix(":") for line in path.read_text().splitlines() if not line.startswith(" ")]


def published_block(key: str) -> tuple[Block, int]:
    """The block a published key stands for, and the height of its output that the key states."""
    if found := INVERTED_RESIDUAL.fullmatch(key):
        hw, i, out_hw, o, mid, k, s, skip, se, hs = map(int, found.groups())
        block = MBConv(i, o, hw, mid, k, s, bool(se), "hswish" if hs else "relu")
        assert block.residual == bool(skip)
        return block, out_hw
    name, hw, i, out_hw, o = re.fullmatch(r"(\w+)-input:(\d+)x\d+x(\d+)-output:(?:(\d+)x\d+x)?(\d+)", key).groups()
    hw, i, out_hw, o = int(hw), int(i), int(out_hw or 1), int(o)
    block = {
        "Conv": Conv(i, o, hw, 3, 2, "hswish"),
        "Conv_1": Conv(i, o, hw, 1, 1, "hswish"),
        "AvgPool2D": Pool(i, o, hw),
        "Conv_2": Conv(i, o, hw, 1, 1, "hswish", norm=False),
        "Logits": Linear(i, o, hw),
    }[name]
    return block, out_hw


@pytest.mark.parametrize("resolution", [160, 192, 224])
def test_published_keys_and_our_blocks_correspond_one_to_one(shared_data: Path, resolution: int) -> None:
    path = shared_data / "ofa_note10" / f"{resolution}_lookup_table.yaml"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the published data")
    published = [published_block(key) for key in published_keys(path)]
    assert len(published) == len({block for block, _ in published}) == 96
    assert {block for block, _ in published} == set(open_space("ofa-mbv3@1.2", resolutions=(resolution,)).vocabulary)
    assert [block.out_hw for block, _ in published] == [out_hw for _, out_hw in published]


def test_the_space_at_width_1_2_has_the_channels_of_the_published_tables() -> None:
    space = open_space("ofa-mbv3@1.2")
    layers = space.layers(space.largest)
    widths = [layers[slot].out_chs for slot in ("stem", "first", *(f"s{s}b1" for s in range(1, 6)))]
    assert widths == [24, 24, 32, 48, 96, 136, 192]
    assert [layers[slot].out_chs for slot in ("final_expand", "feature_mix")] == [1152, 1536]


def test_the_proxyless_space_of_once_for_all_has_the_widths_and_strides_its_authors_give() -> None:
    space = open_space("ofa-proxyless@1.3")
    layers = space.layers(space.largest)
    first_of_stage = [layers[f"s{s}b1"] for s in range(1, 7)]
    assert sum(slot[0] == "s" and slot[-2] == "b" for slot in layers) == 21 and "s6b2" not in layers
    assert [block.stride for block in first_of_stage] == [2, 2, 2, 1, 2, 1]
    assert [layers[slot].out_chs for slot in ("stem", "first")] == [40, 24]
    assert [block.out_chs for block in first_of_stage] == [32, 56, 104, 128, 248, 416]
    assert layers["feature_mix"].out_chs == 1664 and layers["feature_mix"].norm
    assert {layer.act for block in layers.values() for layer in block.layers} == {"relu6", "none"}


def test_blocks_of_proxylessnas_may_be_left_out_but_the_first_of_a_stage() -> None:
    space = open_space("proxyless")
    assert [slot for slot in space.layers(space.smallest) if slot[0] == "s" and slot != "stem"] == [
        f"s{s}b1" for s in range(1, 7)
    ]
    names = [f"s{s}b{b}" for s in range(1, 7) for b in range(1, 5 if s < 6 else 2)]
    dims = {dimension.name: dimension.choices for dimension in space.dimensions}
    assert {dims[f"{name}.expand"] for name in names if name.endswith("b1")} == {(3, 6)}
    assert {dims[f"{name}.expand"] for name in names if not name.endswith("b1")} == {(0, 3, 6)}


LINEAR, POOL = Linear(8, 10, 1), Pool(8, 8, 7)
ENTRIES = [("a.yaml", PublishedEntry(LINEAR, 1.0, 100, 0.5)), ("b.yaml", PublishedEntry(LINEAR, 2.0, 300)),
           ("a.yaml", PublishedEntry(POOL, 4.0, 7))]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> LatencyTable:
    made = LatencyTable.open(tmp_path / "table.jsonl", "note10", published_fingerprint("note10"))
    made.add_published(ENTRIES)
    return made


def test_what_was_published_is_read_back_with_where_it_is_from(table: LatencyTable) -> None:
    read = LatencyTable.read(table.path)
    assert read.sources == table.sources == ("a.yaml", "b.yaml")
    assert read.published(LINEAR.key) == table.published(LINEAR.key) == PublishedEntry(LINEAR, 1.75, 400, None)
    assert read.published(POOL.key) == PublishedEntry(POOL, 4.0, 7)
    assert read.latency_ms([LINEAR, POOL, POOL]) == 9.75 and read.published("conv") is None


def test_a_published_table_is_a_plain_sum_of_unknown_error(table: LatencyTable) -> None:
    found = table.calibration("net ofa-mbv3:")
    assert found == PLAIN_SUM and not found.known
    assert found.latency_ms([(1.5, 10**6), (2.0, 10)]) == 3.5
    assert all(math.isnan(error) for error in (found.mean_error_pct, found.max_error_pct, found.spread_pct))


def test_what_is_measured_counts_instead_of_what_was_published(table: LatencyTable) -> None:
    table.add_round(Round({LINEAR.key: Visit(5.0, 0.125)}, frozenset()))
    assert table.block_ms(LINEAR) == 5.0 and table.published(LINEAR.key) is None
    assert table.block_ms(POOL) == 4.0


def test_another_figure_from_a_file_of_the_same_name_is_refused_before_anything_is_written(table: LatencyTable) -> None:
    before = table.path.read_bytes()
    new, changed = PublishedEntry(Pool(9, 9, 7), 1.0, 1), PublishedEntry(LINEAR, 1.5, 100, 0.5)
    for entries in (
        [("a.yaml", new), ("a.yaml", changed)],
        [("c.yaml", new), ("c.yaml", PublishedEntry(new.block, 2.0, 1))],
    ):
        with pytest.raises(InvalidInputError, match="choose another --device"):
            table.add_published(entries)
        assert table.path.read_bytes() == before
    table.add_published(ENTRIES)
    assert table.path.read_bytes() == before


def append(table: LatencyTable, *records: object) -> LatencyTable:
    with table.path.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return LatencyTable.read(table.path)


def test_what_later_versions_may_add_to_published_records_and_headers_is_passed_over(table: LatencyTable) -> None:
    header, *rest = map(json.loads, table.path.read_text().splitlines())
    header |= {"made_by": "hwnas 9", "fingerprint": header["fingerprint"] | {"altitude_m": 500}}
    table.path.write_text("".join(json.dumps(line) + "\n" for line in (header, *rest)))
    later = {"name": "attention heads=4", "ms": 1.0, "runs": 5, "source": "c.yaml"}
    more = {"name": Pool(9, 9, 7).key, "ms": 1.0, "runs": 5, "source": "c.yaml", "celsius": 41.0}
    read = append(table, {"published": later}, {"published": more}, {"prophecy": {"name": LINEAR.key, "ms": 7}})
    assert asdict(read.fingerprint) == asdict(published_fingerprint("note10"))
    assert set(read.blocks()) == {LINEAR, POOL, Pool(9, 9, 7)} and read.block_ms(LINEAR) == 1.75


@pytest.mark.parametrize(
    "change", [{"ms": 0}, {"ms": -1}, {"ms": "fast"}, {"ms": None}, {"runs": 0}, {"std_ms": -1}, {"std_ms": "x"},
               {"name": "linear in_chs=0 out_chs=10 hw=1"}, {"name": 7, "ms": "x"}],
)  # fmt: skip
def test_a_published_record_that_nothing_can_be_made_of_is_damage(table: LatencyTable, change: dict) -> None:
    record = {"name": LINEAR.key, "ms": 1.0, "runs": 5, "source": "c.yaml"} | change
    with pytest.raises(InvalidInputError, match="is damaged"):
        append(table, {"published": record})
