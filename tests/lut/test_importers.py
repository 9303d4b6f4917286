"""Published tables are read key by key, and nothing in them is passed over; what is exported is read back as it was."""

import math
import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hwnas.spaces import open_space
from lut.blocks import Block, Conv, Linear, MBConv, Pool, PooledLinear
from lut.exporters import ofa_yaml
from lut.importers import block_of, ofa, read_published
from lut.published import PublishedEntry, pooled
from lut.table import LatencyTable, MissingBlockError
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError, UnknownNameError
from profilers.measurement import Visit
from profilers.rounds import Round

HERE = Fingerprint(
    machine="a phone", cores=8, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
)
GOOD = "Logits-input:1x1x1536-output:1000:\n  count: 500\n  mean: 0.67\n  std: 0.08\n"
POOLED = "Logits-input:7x7x1280-output:1000:\n  count: 982\n  mean: 0.31\n  var: 0.0625\n"


@pytest.mark.parametrize("resolution", [160, 192, 224])
def test_a_once_for_all_table_holds_the_blocks_of_its_space(shared_data, resolution):
    path = shared_data / "ofa_note10" / f"{resolution}_lookup_table.yaml"
    space = open_space("ofa-mbv3@1.2", resolutions=(resolution,))
    assert {entry.block for entry in read_published("ofa", [path])} == set(space.vocabulary)


def test_the_pixel_1_table_holds_the_blocks_of_proxylessnas_and_two_that_its_nets_never_had(shared_data):
    blocks = {entry.block for entry in read_published("proxyless", [shared_data / "proxyless_pixel1_lut.yaml"])}
    space = open_space("proxyless")
    assert set(space.vocabulary) <= blocks
    first = space.layers(space.smallest)["first"]
    assert {(block.kernel, block.in_chs, block.hw) for block in blocks - set(space.vocabulary)} == {
        (kernel, first.in_chs, first.hw) for kernel in (5, 7)
    }


@pytest.mark.parametrize(("format", "file"), [("ofa", "ofa_note10/160_lookup_table.yaml"),
                                              ("proxyless", "proxyless_pixel1_lut.yaml")])  # fmt: skip
def test_every_figure_of_a_published_table_is_kept(shared_data, format, file):
    facts = yaml.safe_load((shared_data / file).read_text()).values()
    entries = read_published(format, [shared_data / file])
    assert [(e.ms, e.runs) for e in entries] == [(fact["mean"], fact["count"]) for fact in facts]
    assert [e.std_ms for e in entries] == [fact["std"] if "std" in fact else math.sqrt(fact["var"]) for fact in facts]


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (GOOD, PublishedEntry(Linear(1536, 1000, 1), 0.67, 500, 0.08)),
        (GOOD.replace("  std: 0.08\n", ""), PublishedEntry(Linear(1536, 1000, 1), 0.67, 500)),
        (GOOD.replace("0.67", "6.7e-1"), PublishedEntry(Linear(1536, 1000, 1), 0.67, 500, 0.08)),
        (POOLED, PublishedEntry(PooledLinear(1280, 1000, 7), 0.31, 982, 0.25)),
    ],
)
def test_an_entry_is_what_it_says(tmp_path, text, entry):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    assert read_published("proxyless" if "7x7" in text else "ofa", [path]) == [entry]


RATIO = "expanded_conv-input:7x7x8-output:7x7x8-expand:3-kernel:3-stride:1-idskip:1:\n  count: 1\n  mean: 1.0\n"
EXPANDED = "expanded_conv-input:7x7x8-output:7x7x8-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Mystery-input:7x7x3-output:7x7x3:\n  count: 1\n  mean: 1.0\n", "not understood"),
        (GOOD.replace("mean: 0.67", "mean: 0"), "mean is 0"),
        (GOOD.replace("mean: 0.67", "mean: -1"), "mean is -1"),
        (GOOD.replace("mean: 0.67", "mean: fast"), "mean is 'fast'"),
        (GOOD.replace("mean: 0.67", "mean: .inf"), "inf is no finite number"),
        (GOOD.replace("mean: 0.67", "mean: .nan"), "nan is no finite number"),
        (GOOD.replace("count: 500", "count: 0"), "count is 0"),
        (GOOD.replace("count: 500", "count: [1]"), "count is a list of 1"),
        (GOOD.replace("std: 0.08", "std: -1"), "std is -1"),
        (GOOD.replace("std: 0.08", "median: 1"), "'median' is no figure"),
        (GOOD.replace("count", "runs"), "no count"),
        (GOOD.split("\n", maxsplit=1)[0] + " 0.67\n", "0.67 instead of mean and count"),
        (GOOD, "1 keys are there twice"),
        ("Conv-input:224x224x3-output:100x100x24:\n  count: 1\n  mean: 1.0\n", "not understood"),
        ("Conv-input:224x224x0-output:112x112x24:\n  count: 1\n  mean: 1.0\n", "not understood"),
        (EXPANDED.replace("idskip:1", "idskip:0") + ":\n  count: 1\n  mean: 1.0\n", "not understood"),
        (EXPANDED.replace("kernel:3", "kernel:4") + ":\n  count: 1\n  mean: 1.0\n", "not understood"),
        (EXPANDED + "-act:swish:\n  count: 1\n  mean: 1.0\n", "not understood"),
    ],
)
def test_a_key_that_is_not_understood_or_has_wrong_figures_is_named_and_never_passed_over(tmp_path, text, why):
    path = tmp_path / "table.yaml"
    text = text.replace("1536", "8") if text != GOOD else GOOD
    path.write_text(GOOD + text)
    with pytest.raises(InvalidInputError, match=re.escape(why)) as refused:
        read_published("ofa", [path])
    assert text.split(":\n")[0].split(": ")[0] in str(refused.value)


def test_of_many_keys_that_are_not_understood_the_first_are_named_and_all_counted(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_text("".join(f"Odd_{number}:\n  count: 1\n  mean: 1.0\n" for number in range(2000)))
    with pytest.raises(InvalidInputError, match=r"2000 keys are not understood: Odd_0, .* and 1992 more") as refused:
        read_published("ofa", [path])
    assert len(str(refused.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("asked", "other", "text"),
    [("ofa", "proxyless", POOLED + RATIO), ("proxyless", "ofa", GOOD + EXPANDED + ":\n  count: 1\n  mean: 1.0\n")],
)
def test_a_table_of_another_format_is_said_to_be_that(tmp_path, asked, other, text):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=f"these are keys of --format {other}"):
        read_published(asked, [path])


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "a: [", "\x00", "7\n", "a: &a\n  b: *c\n", "{}"])
@pytest.mark.parametrize("format", ["ofa", "proxyless"])
def test_what_is_no_table_is_refused(tmp_path, text, format):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="table"):
        read_published(format, [path])


def test_a_format_that_is_not_known_is_answered_with_those_there_are(tmp_path):
    with pytest.raises(UnknownNameError, match="'nnmeter': there is ofa, proxyless"):
        read_published("nnmeter", [tmp_path / "table.yaml"])


@given(st.lists(st.lists(st.floats(0.1, 10), min_size=2, max_size=20), min_size=1, max_size=4))
def test_several_entries_of_a_block_are_one_of_all_their_runs(files):
    block = Linear(8, 10, 1)
    found = pooled([PublishedEntry(block, float(np.mean(f)), len(f), float(np.std(f))) for f in files])
    runs = [ms for file in files for ms in file]
    assert found.block == block and found.runs == len(runs)
    assert found.ms == pytest.approx(np.mean(runs)) and found.std_ms == pytest.approx(np.std(runs), abs=1e-9)


def test_how_runs_spread_is_not_known_where_one_file_does_not_say():
    block = Linear(8, 10, 1)
    assert pooled([PublishedEntry(block, 1.0, 5, 0.1), PublishedEntry(block, 1.0, 5)]).std_ms is None


chs, hws, booleans = st.integers(1, 400), st.integers(1, 300), st.booleans()
OFA_BLOCKS = st.one_of(
    st.builds(lambda i, o, hw: Conv(i, o, hw, 3, 2, "hswish"), chs, chs, hws),
    st.builds(lambda i, o, hw, norm: Conv(i, o, hw, 1, 1, "hswish", norm), chs, chs, hws, booleans),
    st.builds(lambda c, hw: Pool(c, c, hw), chs, hws),
    st.builds(lambda i, o: Linear(i, o, 1), chs, chs),
    st.builds(MBConv, chs, chs, hws, chs, st.sampled_from([3, 5, 7]), st.sampled_from([1, 2]), booleans,
              st.sampled_from(["relu", "hswish"])),
)  # fmt: skip


@given(OFA_BLOCKS)
def test_a_blocks_key_is_read_back_as_the_block(block):
    key = ofa.key_of(block)
    assert key is not None and block_of(key, ofa.PATTERNS) == block_of(f"{key}:", ofa.PATTERNS) == block


@pytest.mark.parametrize(
    "block",
    [
        Conv(3, 8, 32, 3, 2, "relu"),
        Conv(3, 8, 32, 3, 1, "hswish"),
        Conv(3, 8, 32, 5, 2, "hswish"),
        Conv(3, 8, 32, 1, 1, "relu6"),
        MBConv(8, 8, 16, 24, 3, 1, False, "relu6"),
        MBConv(8, 8, 16, 24, 3, 1, False, "none"),
        PooledLinear(8, 10, 7),
        Linear(8, 10, 7),
    ],
)
def test_a_block_that_the_format_has_no_word_for_has_no_key(block):
    """A key of another block in its place would give users another block's time."""
    assert ofa.key_of(block) is None


def test_published_keys_are_written_as_they_were(shared_data):
    path = shared_data / "ofa_note10" / "192_lookup_table.yaml"
    keys = [key.removesuffix(":") for key in yaml.safe_load(path.read_text())]
    assert [ofa.key_of(entry.block) for entry in read_published("ofa", [path])] == keys


BLOCKS: tuple[Block, ...] = (
    Conv(3, 8, 32, 3, 2, "hswish"), MBConv(8, 8, 16, 24, 3, 1, True, "hswish"), Pool(8, 8, 16), Linear(8, 10, 1),
)  # fmt: skip


def test_what_is_exported_is_read_back_as_it_was_measured(tmp_path):
    table = LatencyTable.open(tmp_path / "table.jsonl", "phone", HERE)
    for number in range(20):
        table.add_round(Round({b.key: Visit(i + 1 + number / 64, 0.125) for i, b in enumerate(BLOCKS)}, frozenset()))
    path = tmp_path / "table.yaml"
    path.write_text(ofa_yaml(table, BLOCKS))
    read = {entry.block: entry for entry in read_published("ofa", [path])}
    assert set(read) == set(BLOCKS)
    for block, entry in read.items():
        samples = table.measurement(block.key).samples_ms
        assert (entry.ms, entry.runs) == (table.block_ms(block), len(samples))
        mean = sum(samples) / len(samples)
        assert entry.std_ms == pytest.approx(math.sqrt(sum((ms - mean) ** 2 for ms in samples) / (len(samples) - 1)))


def test_a_published_table_is_exported_as_it_was_imported(shared_data, tmp_path):
    source = shared_data / "ofa_note10" / "224_lookup_table.yaml"
    table = LatencyTable.open(tmp_path / "table.jsonl", "note10", HERE)
    found = read_published("ofa", [source])
    table.add_published((source.name, entry) for entry in found)
    path = tmp_path / "table.yaml"
    path.write_text(ofa_yaml(LatencyTable.read(table.path), [entry.block for entry in found]))
    theirs, ours = yaml.safe_load(source.read_text()), yaml.safe_load(path.read_text())
    assert list(ours) == [key.removesuffix(":") for key in sorted(theirs)]
    for key, facts in theirs.items():
        assert ours[key.removesuffix(":")] == pytest.approx(facts, rel=1e-5)


def test_what_lacks_or_has_no_word_is_not_exported(tmp_path):
    table = LatencyTable.open(tmp_path / "table.jsonl", "phone", HERE)
    with pytest.raises(MissingBlockError, match="lacks 4"):
        ofa_yaml(table, BLOCKS)
    plain = Conv(3, 8, 32, 3, 2, "relu")
    table.add_round(Round({plain.key: Visit(1.0, 0.125)}, frozenset()))
    with pytest.raises(InvalidInputError, match=f"no word for 1 blocks, e.g. {plain.key}"):
        ofa_yaml(table, [plain])
