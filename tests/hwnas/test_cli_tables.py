"""What tables say on the command line: prices, heat maps, how good they are; and that precisions are kept apart."""

import json
import re
import shutil

import numpy as np
import pytest

from hwnas.heatmap import heat_map
from hwnas.spaces import open_space
from hwnas.workspace import Workspace
from lut.blocks import chain
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers.backends.fake import price_ms
from profilers.configuration import find_device
from profilers.formats import PRECISIONS, write

FAKE = ("--runtime", "fake")
DIGITS = open_space("digits")
PRICE = {"arch", "predicted_ms", "error_pct", "blocks", "guessed_blocks"}

pytestmark = pytest.mark.usefixtures("no_settings")


def fake_ms(space, arch):
    """What a whole net takes on the fake device."""
    weights = random_weights(np.random.default_rng(0))
    return price_ms(write(chain([(block, weights) for block in space.layers(arch).values()]), "onnx").content)


def test_architectures_are_priced_from_the_table_alone(hwnas, workspace, table, model):
    before = table.read_bytes()
    rows = DIGITS.sample(3, np.random.default_rng(0))
    done = hwnas("table", "price", *map(DIGITS.arch, rows), *FAKE, "--workspace", workspace, "--json")
    assert done.code == 0 and table.read_bytes() == before
    for found, row in zip(done.json, rows, strict=True):
        assert set(found) == PRICE and found["arch"] == str(DIGITS.arch(row))
        assert found["predicted_ms"] == pytest.approx(model.latency_ms(row[None])[0])
        assert found["error_pct"] == pytest.approx(model.calibration.spread_pct)
        assert (found["blocks"], found["guessed_blocks"]) == (len(DIGITS.layers(DIGITS.arch(row))), 0)


def test_a_price_is_shown_with_its_unit_and_typical_error(hwnas, workspace, model):
    shown = hwnas("table", "price", DIGITS.smallest, *FAKE, "--workspace", workspace).out
    ms = float(model.latency_ms(DIGITS.row(DIGITS.smallest)[None])[0])
    assert f"{ms:.4g} ms" in shown and f"{model.calibration.spread_pct:.1f} %" in shown
    assert f"0 of {len(DIGITS.layers(DIGITS.smallest))}" in shown


@pytest.mark.parametrize("arch", ["digits:1", "elsewhere:1-2", "x"])
def test_an_architecture_of_elsewhere_has_no_price(hwnas, workspace, arch):
    done = hwnas("table", "price", arch, *FAKE, "--workspace", workspace)
    assert done.code == 3 and arch in done.refusal


def test_an_image_size_between_profiled_ones_is_priced_where_that_is_asked_for(hwnas, tmp_path):
    measured, space = open_space("digits", resolutions=(32, 48)), open_space("digits", resolutions=(40,))
    where = (*FAKE, "--workspace", tmp_path, "--json")
    assert hwnas("profile", "--resolution", "32,48", *where).code == 0
    archs = [space.smallest, space.largest]
    ask = ("table", "price", *archs, "--resolution", 40, *where)
    refused = hwnas(*ask)
    lacking = [block for block in space.vocabulary if block not in measured.vocabulary]
    needed = {block for arch in archs for block in space.layers(arch).values()}
    count = len(needed.intersection(lacking))
    assert refused.code == 3 and f"lacks {count} of the {len(needed)} blocks" in refused.refusal
    done = hwnas(*ask, "--guess", "sizes")
    assert done.code == 0
    for found, arch in zip(done.json, archs, strict=True):
        blocks = space.layers(arch).values()
        assert found["guessed_blocks"] == sum(block in lacking for block in blocks) < found["blocks"]
        assert found["predicted_ms"] == pytest.approx(fake_ms(space, arch), rel=0.05)
    shown = hwnas(*ask[:-1], "--guess", "sizes").out
    assert all(f"{found['guessed_blocks']} of {found['blocks']}" in shown for found in done.json)
    beyond = hwnas("table", "price", open_space("digits", resolutions=(56,)).smallest, "--resolution", 56,
                   "--guess", "sizes", *where)  # fmt: skip
    assert beyond.code == 3 and beyond.refusal.endswith(f"--space {space.name} --resolution 56")


def test_a_table_is_shown_with_a_heat_map_its_errors_and_the_state_of_the_device(hwnas, workspace, table):
    found = LatencyTable.read(table)
    shown = hwnas("table", "show", *FAKE, "--workspace", workspace).out
    cells = heat_map(found).cells.values()
    assert "the redder, the more for each MAC" in shown and all(f"{cell.ms:.3g}" in shown.split() for cell in cells)
    (calibration,) = found.calibrations.values()
    assert f"{calibration['count']:.0f} whole nets, each left out of the fit in turn" in shown
    assert f"mean error {calibration['mean_error_pct']:.1f} %, largest {calibration['max_error_pct']:.1f} %" in shown
    (line,) = re.findall("the device when it was last measured: .*", shown)
    assert all(f"{name} {value}" in line for name, value in found.states[-1].items())


def test_the_heat_map_is_drawn_where_that_is_asked_for(hwnas, workspace, tmp_path):
    for number, more in enumerate([(), ("--json",)]):
        picture = tmp_path / f"{number}.png"
        assert hwnas("table", "show", *FAKE, "--workspace", workspace, "--png", picture, *more).code == 0
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_table_without_inverted_residuals_is_shown_and_not_drawn(hwnas, workspace, table, tmp_path):
    header, *records = table.read_text().splitlines(keepends=True)
    table.write_text(header)
    assert len(records) > 1
    assert hwnas("table", "show", *FAKE, "--workspace", workspace).code == 0
    done = hwnas("table", "show", *FAKE, "--workspace", workspace, "--png", tmp_path / "map.png")
    assert done.code == 3 and "has no inverted residuals to draw" in done.err
    assert not (tmp_path / "map.png").exists()


@pytest.mark.parametrize(
    "command", [("profile",), ("search", "--latency", "1ms"), ("specialize", "--latency", "1ms"), ("table", "show"),
                ("table", "check"), ("table", "price", DIGITS.smallest)],
    ids=lambda command: " ".join(map(str, command[:2])),
)  # fmt: skip
def test_a_precision_that_the_runtime_does_not_have_is_answered_with_those_it_has(hwnas, tmp_path, command, files):
    done = hwnas(*command, *FAKE, "--precision", "int8", "--workspace", tmp_path)
    assert done.code == 3
    assert done.refusal == "hwnas: unknown precision of runtime fake 'int8': there is fp32"
    assert not files(tmp_path)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_precisions_are_kept_in_tables_of_their_own(hwnas, workspace, table, runtime):
    place = {p: Workspace(workspace).table(find_device("host", workspace, runtime, p)) for p in PRECISIONS}
    assert len(set(place.values())) == len(PRECISIONS)
    shutil.copy(table, place["fp32"])
    done = hwnas("table", "show", "--runtime", runtime, "--precision", "int8", "--workspace", workspace)
    assert done.code == 3 and f"{place['int8']} is not there" in done.refusal
    assert hwnas("table", "show", "--runtime", runtime, "--workspace", workspace, "--json").code == 0


def check(hwnas, workspace, *more):
    return hwnas("table", "check", *FAKE, "--workspace", workspace, *more)


def rewritten(table, change):
    """The table's lines as `change` returns them."""
    lines = [change(number, json.loads(line)) for number, line in enumerate(table.read_text().splitlines())]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_entries_older_than_is_allowed_are_named_and_not_trusted(hwnas, workspace, table):
    def last_year(_, line):
        if "state" in line:
            line["state"]["time"] = "2025-01-01T00:00:00+00:00"
        return line

    assert check(hwnas, workspace, "--max-age", 1).code == 0
    rewritten(table, last_year)
    assert check(hwnas, workspace).code == 0
    done = check(hwnas, workspace, "--max-age", 30, "--json")
    assert done.code == 5 and len(done.json["stale"]) == len(DIGITS.vocabulary) and done.json["age_days"] > 300
    assert "60 entries are stale" in done.err


@pytest.mark.parametrize(("key", "value"), [("machine", "another"), ("runtime_version", "0.1")])
def test_a_table_of_what_the_device_was_once_is_not_trusted(hwnas, workspace, table, key, value):
    def elsewhere(_, line):
        if "fingerprint" in line:
            line["fingerprint"][key] = value
        return line

    rewritten(table, elsewhere)
    done = check(hwnas, workspace, "--json")
    assert done.code == 5 and "measured elsewhere" in done.err
    (difference,) = done.json["elsewhere"]
    assert difference.startswith(f"{key} {value!r} against ")


def test_an_entry_that_was_not_the_same_twice_is_named_and_not_trusted(hwnas, workspace, table):
    moved = DIGITS.vocabulary[5].key
    rounds = [line for line in map(json.loads, table.read_text().splitlines()) if moved in line.get("round", {})]
    with table.open("a") as file:
        file.write(json.dumps({"state": {"time": "2026-01-01T00:00:00+00:00"}}) + "\n")
        for line in rounds:
            ms, *rest = line["round"][moved]
            file.write(json.dumps({"round": {moved: [1.5 * ms, *rest]}}) + "\n")
    done = check(hwnas, workspace, "--json")
    (found,) = done.json["unsteady"]
    assert done.code == 5 and found["names"] == [moved]
    assert moved in check(hwnas, workspace).out


def test_a_block_dearer_than_a_larger_one_is_named_and_trusted(hwnas, workspace, table):
    """A runtime may be like that; whoever reads it can take the larger block."""
    small = DIGITS.layers(DIGITS.smallest)["s1b1"]

    def dear(_, line):
        if small.key in line.get("round", {}):
            line["round"][small.key][0] *= 10
        return line

    rewritten(table, dear)
    done = check(hwnas, workspace, "--json")
    assert done.code == 0 and {found["names"][0] for found in done.json["inverted"]} == {small.key}
    assert f"{small.key} > " in check(hwnas, workspace).out


def test_a_table_is_shown_with_the_hash_that_promises_name(hwnas, workspace, table):
    assert LatencyTable.read(table).content_hash in hwnas("table", "show", *FAKE, "--workspace", workspace).out
