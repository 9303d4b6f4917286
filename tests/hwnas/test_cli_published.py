"""Published tables on the command line: imported, priced without any device, and given to other tools."""

import json
import warnings

import pytest
import yaml

from hwnas.spaces import open_space
from lut.importers import read_published
from lut.storage import TornRecordWarning
from lut.table import LatencyTable

pytestmark = pytest.mark.usefixtures("no_settings")

SIZES = (160, 192, 224)


@pytest.fixture
def tables(shared_data):
    return {hw: shared_data / "ofa_note10" / f"{hw}_lookup_table.yaml" for hw in SIZES}


@pytest.fixture
def note10(hwnas, tmp_path, tables):
    """How to run a command on the imported table."""
    done = hwnas("table", "import", "--device", "note10", *tables.values(), "--workspace", tmp_path, "--json")
    assert done.code == 0 and done.json["blocks"] == 3 * 94 + 2  # feature mix and classifier see one pixel
    return lambda *what: hwnas("table", *what, "--device", "note10", "--workspace", tmp_path)


@pytest.fixture
def table(note10, tmp_path):
    return tmp_path / "tables" / "note10-published.jsonl"


def net(shared_data, pattern):
    (path,) = (shared_data / "ofa_published").glob(f"{pattern}.json")
    return path


def test_files_of_several_resolutions_become_one_table_that_says_where_it_is_from(table, tables):
    found = LatencyTable.read(table)
    assert not found.missing(open_space("ofa-mbv3@1.2", resolutions=SIZES).vocabulary)
    assert found.sources == tuple(file.name for file in tables.values())
    lines = [json.loads(line)["published"] for line in table.read_text().splitlines()[1:]]
    assert len(lines) == 3 * 96 and all(set(line) == {"name", "ms", "runs", "std_ms", "source"} for line in lines)


def test_a_block_has_one_time_whatever_the_order_of_the_files(hwnas, tmp_path, tables, table):
    backwards = [tables[hw] for hw in reversed(SIZES)]
    assert hwnas("table", "import", "--device", "other", *backwards, "--workspace", tmp_path).code == 0
    other = LatencyTable.read(table.with_name("other-published.jsonl"))
    ours = LatencyTable.read(table)
    assert {name: m.latency_ms for name, m in ours.measured()} == {
        name: pytest.approx(m.latency_ms, rel=1e-12) for name, m in other.measured()
    }


def test_the_published_net_of_30_ms_is_priced_at_what_its_authors_found(note10, shared_data):
    path = net(shared_data, "note10_lat-30ms_*")
    done = note10("price", path, "--space", "ofa-mbv3@1.2", "--resolution", "224", "--json")
    (found,) = done.json
    assert done.code == 0 and found["predicted_ms"] == pytest.approx(29.97, rel=0.001)
    assert found["error_pct"] is None and found["guessed_blocks"] == 0
    spelled = note10("price", found["arch"], "--space", "ofa-mbv3@1.2", "--resolution", "160,192,224", "--json")
    assert spelled.json == done.json
    assert "not known" in note10("price", path, "--space", "ofa-mbv3@1.2").out


def test_a_published_net_at_a_size_between_the_tables_is_priced_where_that_is_asked_for(note10, shared_data):
    path = net(shared_data, "note10_lat-41ms_*")  # of 220 pixels
    ask = ("price", path, "--space", "ofa-mbv3@1.2", "--resolution", "220", "--json")
    assert note10(*ask).code == 3
    (found,) = note10(*ask, "--guess", "sizes").json
    assert 0 < found["guessed_blocks"] < found["blocks"]
    assert found["predicted_ms"] == pytest.approx(41, rel=0.04)


def test_a_net_of_another_size_is_answered_with_the_option_that_prices_it(note10, shared_data):
    path = net(shared_data, "note10_lat-41ms_*")
    done = note10("price", path, "--space", "ofa-mbv3@1.2")
    assert done.code == 3 and done.refusal.endswith(
        f"{path} is a net for images of 220 pixels: ask with --resolution 220"
    )


def test_a_published_figure_has_no_interval_and_its_table_no_known_error(note10, tables):
    (entry, *_) = note10("show", "--json").json
    assert entry["interval_ms"] is None and entry["calm_visits"] == 0
    shown = note10("show").out
    assert "not known" in shown and "±" not in shown and "500 published runs" in shown
    assert all(file.name in shown for file in tables.values())
    done = note10("check", "--space", "ofa-mbv3@1.2", "--resolution", "160,192,224", "--json")
    assert done.code == 0 and done.json == {
        "missing": [], "transferred": [], "unconverged": [], "stale": [], "elsewhere": [], "unsteady": [],
        "inverted": [], "age_days": None,
    }  # fmt: skip
    told = note10("check", "--space", "ofa-mbv3@1.2", "--max-age", "0").out
    assert "96 of 96 blocks" in told and "oldest entry: not known" in told and "left-out nets: error not known" in told


def test_a_resolution_that_was_not_imported_is_refused_with_what_to_do(note10):
    measured, space = (open_space("ofa-mbv3@1.2", resolutions=hw) for hw in (SIZES, (208,)))
    needed = set(space.layers(space.smallest).values())
    lacking = needed - set(measured.vocabulary)
    done = note10("price", space.smallest, "--space", "ofa-mbv3@1.2", "--resolution", "208")
    assert done.code == 3 and f"lacks {len(lacking)} of the {len(needed)} blocks" in done.refusal
    assert "import the file of the resolution that lacks" in done.refusal


@pytest.mark.parametrize("command", [("table", "check"), ("table", "export", "x.yaml"), ("search", "--latency", "20ms"),
                                     ("search", "--latency", "20ms", "--available")])  # fmt: skip
def test_a_table_of_another_width_than_the_space_is_said_to_be_that(hwnas, note10, tmp_path, command):
    done = hwnas(*command, "--device", "note10", "--space", "ofa-mbv3", "--workspace", tmp_path)
    assert done.code == 3 and done.complaint.endswith(
        "its channel counts are those of ofa-mbv3@1.2: give --space ofa-mbv3@1.2, or import a table of ofa-mbv3"
    )


class TestHoles:
    """A published table without the blocks of one kernel: all that needs none of them is there."""

    OPTIONS = ("--device", "phone", "--space", "ofa-mbv3@1.2", "--resolution", "160")

    @pytest.fixture
    def work(self, hwnas, tmp_path, tables):
        entries = tables[160].read_text().split("\n")
        keys = [n for n, line in enumerate(entries) if line and not line.startswith(" ")]
        ends = [*keys[1:], len(entries)]
        kept = [entries[a:b] for a, b in zip(keys, ends, strict=True) if "kernel:7" not in entries[a]]
        assert len(kept) < len(keys)
        (tmp_path / "holes.yaml").write_text("\n".join(line for entry in kept for line in entry) + "\n")
        assert hwnas("table", "import", "--device", "phone", tmp_path / "holes.yaml", "--workspace", tmp_path).code == 0
        return ("--workspace", tmp_path)

    def test_a_net_that_needs_none_of_them_is_priced(self, hwnas, work):
        space = open_space("ofa-mbv3@1.2", resolutions=(160,))
        done = hwnas("table", "price", space.smallest, *self.OPTIONS, *work, "--json")
        assert done.code == 0 and 0 < done.json[0]["predicted_ms"] < 100
        refused = hwnas("table", "price", space.largest, *self.OPTIONS, *work)
        assert refused.code == 3 and "that are asked for" in refused.refusal and "kernel=7" in refused.refusal

    def test_a_search_says_what_lacks_and_does_without_where_it_may(self, hwnas, work):
        refused = hwnas("search", "--latency", "20ms", *self.OPTIONS, *work, "--no-auto")
        assert refused.code == 3 and "(all of kernel 7); import a file that has them" in refused.complaint
        assert "--available" in refused.complaint
        for algorithm in ("exact", "evolution"):
            more = ("--latency", "20ms", "--evaluations", "600", "--algorithm", algorithm, "--available", "--json")
            done = hwnas("search", *more, *self.OPTIONS, *work)
            assert done.code == 0 and "left out: kernel 7" in done.err and done.only["predicted_ms"] <= 20
            space = open_space("ofa-mbv3@1.2", resolutions=(160,))
            assert all(getattr(b, "kernel", 0) != 7 for b in space.layers(space.parse(done.only["arch"])).values())

    def test_what_is_least_is_of_what_is_there(self, hwnas, work):
        done = hwnas("search", "--latency", "1ms", "--available", *self.OPTIONS, *work)
        assert (
            done.code == 6
            and "the least attainable is" in done.complaint
            and "inf" not in done.complaint.split("ms")[1]
        )


def test_importing_again_changes_nothing_and_further_files_are_added(hwnas, tmp_path, tables, table):
    before = table.read_bytes()
    add = ("table", "import", "--workspace", tmp_path, "--json", "--device")
    assert hwnas(*add, "note10", tables[192]).code == 0 and table.read_bytes() == before
    one_by_one = [hwnas(*add, "other", tables[hw]).json["blocks"] for hw in SIZES]
    assert one_by_one == [96, 96 + 94, 96 + 94 + 94]
    written = table.with_name("other-published.jsonl").read_text().splitlines()[1:]
    assert written == before.decode().splitlines()[1:]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
def test_an_import_that_was_killed_is_finished_by_the_same_command(hwnas, tmp_path, tables, table, share):
    whole = table.read_bytes()
    header = whole.index(b"\n") + 1
    table.write_bytes(whole[: header + int(share * (len(whole) - header))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRecordWarning)
        done = hwnas("table", "import", "--device", "note10", *tables.values(), "--workspace", tmp_path)
    assert done.code == 0 and table.read_bytes() == whole


def test_another_content_under_the_same_name_is_refused_and_nothing_is_changed(hwnas, tmp_path, tables, table, files):
    other = tmp_path / "elsewhere" / tables[160].name
    other.parent.mkdir()
    facts = yaml.safe_load(tables[160].read_text())
    key, last = list(facts.items())[-1]
    last["mean"] *= 1.01
    other.write_text(yaml.safe_dump(facts | {key: last}))
    before = files(tmp_path)
    done = hwnas("table", "import", "--device", "note10", other, "--workspace", tmp_path)
    assert done.code == 3 and "choose another --device" in done.refusal and other.name in done.refusal
    assert files(tmp_path) == before


def test_a_file_that_is_not_understood_leaves_no_table(hwnas, tmp_path, tables, shared_data):
    pixel = shared_data / "proxyless_pixel1_lut.yaml"
    for format, wrong in (("ofa", pixel), ("proxyless", tables[160])):
        done = hwnas(
            "table", "import", "--format", format, "--device", "d", tables[160], wrong, "--workspace", tmp_path
        )
        assert done.code == 3 and "keys are not understood" in done.refusal
    done = hwnas("table", "import", "--format", "csv", "--device", "d", pixel, "--workspace", tmp_path)
    assert done.code == 3 and "there is ofa, proxyless" in done.refusal
    assert not (tmp_path / "tables").exists()


def test_the_pixel_1_table_prices_proxylessnas_nets(hwnas, tmp_path, shared_data):
    file = shared_data / "proxyless_pixel1_lut.yaml"
    where = ("--device", "pixel1", "--workspace", tmp_path, "--json")
    assert hwnas("table", "import", "--format", "proxyless", file, *where).json["blocks"] == 72
    space = open_space("proxyless")
    archs = (space.smallest, space.largest)
    times = {entry.block: entry.ms for entry in read_published("proxyless", [file])}
    done = hwnas("table", "price", *archs, "--space", "proxyless", *where)
    assert [found["predicted_ms"] for found in done.json] == [
        pytest.approx(sum(times[block] for block in space.layers(arch).values()), rel=1e-5) for arch in archs
    ]


def test_an_exported_table_prices_as_the_one_it_is_from(hwnas, tmp_path, note10, tables, table):
    copy = tmp_path / "copy.yaml"
    assert note10("export", copy, "--space", "ofa-mbv3@1.2", "--resolution", "192").code == 0
    assert hwnas("table", "import", "--device", "copy", copy, "--workspace", tmp_path).code == 0
    space = open_space("ofa-mbv3@1.2", resolutions=(192,))
    ours, theirs = (LatencyTable.read(path) for path in (table, table.with_name("copy-published.jsonl")))
    for block in space.vocabulary:
        assert theirs.block_ms(block) == pytest.approx(ours.block_ms(block), rel=1e-5)
        assert theirs.published(block.key).runs == ours.published(block.key).runs


def test_a_measured_table_is_exported_with_its_visits(hwnas, workspace, tmp_path):
    copy = tmp_path / "copy.yaml"
    ask = ("table", "export", copy, "--runtime", "fake", "--workspace", workspace, "--space", "digits")
    assert hwnas(*ask).code == 0
    measured = LatencyTable.read(workspace / "tables" / "host-fake-fp32-t1-b1.jsonl")
    entries = read_published("ofa", [copy])
    assert {entry.block for entry in entries} == set(open_space("digits").vocabulary)
    for entry in entries:
        assert (entry.ms, entry.runs) == (
            measured.block_ms(entry.block), len(measured.measurement(entry.block.key).samples_ms)
        )  # fmt: skip
    done = hwnas(*ask, "--resolution", "40,48")
    assert done.code == 3 and "one by one" in done.refusal
    done = hwnas(*ask, "--resolution", "48")
    assert done.code == 3 and "lacks" in done.refusal
