"""Tables, supernets and bundles that are damaged, foreign or lacking are refused, kept, and said what to do about."""

import json
import re
import shlex
import shutil
import warnings
from contextlib import contextmanager

import pytest

from hwnas.export.bundle import write_bundle
from hwnas.spaces import open_space
from hwnas.workspace import Workspace
from lut.table import LatencyTable
from profilers.configuration import find_device
from profilers.errors import InvalidInputError
from profilers.formats import ModelFile

from .bundles import INPUT, RECORD

resource = pytest.importorskip("resource")

DIGITS = open_space("digits")
FAKE = ("--runtime", "fake")

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


@contextmanager
def disk_full_beyond(size):
    """Files cannot grow beyond `size` bytes: what a disk does that has no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def cut_in_the_header(content):
    return content[:40]


def foreign(content):
    return b'{"format": "recipes of my grandmother", "version": 1}\n'


def future(content):
    return content.replace(b'"version":1', b'"version":99', 1)


def noise(content):
    return bytes(range(256)) * 20


def damaged_inside(content):
    return content.replace(b'{"round":', b'{"round"', 3)


def impossible_times(content):
    return content + b'{"round":{"net x":[-1.0,0.5]}}\n'


def no_fingerprint(content):
    return content.replace(b'"fingerprint"', b'"fingerprints"', 1)


@pytest.mark.parametrize("no_auto", [(), ("--no-auto",)], ids=["auto", "no-auto"])
@pytest.mark.parametrize(
    "damage", [cut_in_the_header, foreign, future, noise, damaged_inside, impossible_times, no_fingerprint]
)
def test_a_table_that_is_damaged_or_foreign_is_refused_and_kept(hwnas, workspace, table, damage, no_auto, files):
    table.write_bytes(damage(table.read_bytes()))
    before = files(workspace)
    done = hwnas("specialize", "--latency", "0.6ms", *FAKE, "--workspace", workspace, *no_auto)
    assert done.code == 3 and str(table) in done.refusal
    for command in (("table", "show"), ("table", "check"), ("profile",)):
        done = hwnas(*command, *FAKE, "--workspace", workspace)
        assert done.code == 3 and str(table) in done.refusal
    assert files(workspace) == before


def rewrite(table, change):
    """Every line of a table as `change` returns it; None drops it."""
    lines = [change(json.loads(line)) for line in table.read_text().splitlines()]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines if line is not None))


@pytest.mark.parametrize(
    "key",
    ["machine", "cores", "runtime", "runtime_version", "precision", "threads", "batch", "cpus", "hswish", "clock"],
)
def test_a_table_that_was_measured_elsewhere_is_refused(hwnas, workspace, table, key, files):
    def elsewhere(line):
        if "fingerprint" in line:
            line["fingerprint"][key] = "another" if isinstance(line["fingerprint"][key], str) else 99
        return line

    rewrite(table, elsewhere)
    before = files(workspace)
    for command in (("search", "--latency", "0.6ms"), ("profile",)):
        done = hwnas(*command, *FAKE, "--workspace", workspace)
        assert done.code == 3 and f"measured elsewhere ({key} " in done.refusal
    assert files(workspace) == before


@pytest.mark.parametrize(
    ("setting", "difference"),
    [
        ("batch = 2", "batch 1 against 2"),
        ("threads = 2", "threads 1 against 2"),
        ('clock = "cpu"', "clock 'wall' against 'cpu'"),
        ('hswish = "split"', "hswish 'fused' against 'split'"),
        ("cpus = [0]", "cpus '' against '0'"),
    ],
)
def test_a_table_is_not_used_for_the_same_device_with_other_settings(
    hwnas, workspace, table, setting, difference, files
):
    (workspace / "devices.toml").write_text(f'[host]\nruntime = "fake"\n{setting}\n')
    content, place = table.read_bytes(), Workspace(workspace).table(find_device("host", workspace))
    place.write_bytes(content)
    before = files(workspace)
    for command in (("search", "--latency", "0.6ms"), ("search", "--latency", "0.6ms", "--no-auto"), ("profile",)):
        done = hwnas(*command, "--workspace", workspace)
        assert done.code == 3 and f"{place} was measured elsewhere ({difference})" in done.refusal
    assert files(workspace) == before


def command_in(message):
    """The command a message tells the user to run."""
    found = re.search(r"hwnas (profile|train) .*", message)
    assert found
    return shlex.split(found[0])[1:]


def test_a_table_that_lacks_blocks_names_them_and_the_command_that_measures_them(hwnas, workspace, table):
    lacking = DIGITS.vocabulary[3].key

    def without(line):
        line.get("round", {}).pop(lacking, None)
        return line

    rewrite(table, without)
    ask = ("search", "--latency", "0.6ms", *FAKE, "--workspace", workspace, "--no-auto")
    done = hwnas(*ask)
    assert done.code == 3 and f"lacks 1 of the 60 blocks of digits, e.g. {lacking}" in done.refusal
    check = hwnas("table", "check", *FAKE, "--workspace", workspace, "--json")
    assert check.code == 3 and check.json["missing"] == [lacking]
    assert hwnas(*command_in(done.err), "--workspace", workspace).code == 0
    assert hwnas(*ask).code == 0


def test_without_a_table_the_command_that_makes_it_is_named_and_true(hwnas, workspace, table):
    table.unlink()
    ask = ("search", "--latency", "0.6ms", *FAKE, "--workspace", workspace, "--no-auto")
    done = hwnas(*ask)
    assert done.code == 3 and not table.exists()
    assert hwnas(*command_in(done.refusal), "--workspace", workspace).code == 0
    assert hwnas(*ask).code == 0


def test_a_table_without_whole_nets_names_the_command_that_measures_them(hwnas, workspace, table):
    rewrite(table, lambda line: None if "net" in line else line)
    done = hwnas("search", "--latency", "0.6ms", *FAKE, "--workspace", workspace, "--no-auto")
    assert done.code == 3 and "needs 6 measured whole nets and has 0" in done.refusal
    assert command_in(done.err)[0] == "profile"


@pytest.mark.usefixtures("nothing_shipped")
def test_without_a_supernet_the_command_that_trains_it_is_named(hwnas, workspace, supernet):
    supernet.unlink()
    for arguments in (("search", "--latency", "0.6ms", *FAKE, "--no-auto"), ("export", "--arch", DIGITS.smallest)):
        done = hwnas(*arguments, "--workspace", workspace)
        assert done.code == 3 and "hwnas train --data digit-pairs --space digits" in done.refusal
    assert not supernet.exists()


@pytest.mark.usefixtures("nothing_shipped")
@pytest.mark.parametrize("command", ["search", "specialize"])
def test_an_infeasible_budget_is_answered_before_anything_is_trained(hwnas, workspace, supernet, model, command):
    shutil.rmtree(supernet.parents[1])
    least, _ = model.least()
    latencies = f"{0.8 * least:.6f}ms,{0.9 * least:.6f}ms"
    done = hwnas(command, "--latency", latencies, *FAKE, "--workspace", workspace)
    assert done.code == 6
    told = done.refusal.split("the least attainable is ")[1].split(" ms")[0]
    assert least <= float(told) < least * 1.001
    assert hwnas("search", "--latency", f"{told}ms", *FAKE, "--no-auto", "--workspace", workspace).code != 6
    assert not supernet.parents[1].exists() and not (workspace / "bundles").exists()


def test_a_supernet_of_another_space_is_refused(hwnas, workspace, supernet):
    other = supernet.parents[1] / "digits@1.1-digit-pairs" / supernet.name
    other.parent.mkdir()
    shutil.copy(supernet, other)
    for arguments in (
        ("export", "--arch", DIGITS.smallest, "--space", "digits@1.1"),
        ("train", "--steps", "2", "--batch", "8", "--space", "digits@1.1"),
    ):
        done = hwnas(*arguments, "--workspace", workspace)
        assert done.code == 3 and f"{other} holds a supernet of digits, not of digits@1.1" in done.refusal


def test_a_supernet_trained_with_other_settings_is_not_replaced_unasked(hwnas, workspace, supernet):
    before = supernet.read_bytes()
    done = hwnas("train", "--steps", "3", "--batch", "9", "--workspace", workspace)
    assert done.code == 3 and "other settings" in done.refusal and "--restart" in done.refusal
    assert supernet.read_bytes() == before


@pytest.mark.parametrize("end", [0, 100, -100])
def test_corrupt_weights_are_refused_and_kept(hwnas, workspace, supernet, end, files):
    supernet.write_bytes(supernet.read_bytes()[:end])
    before = files(workspace)
    for arguments in (
        ("search", "--latency", "0.6ms", *FAKE),
        ("train", "--steps", "2", "--batch", "8"),
        ("export", "--arch", DIGITS.smallest),
    ):
        done = hwnas(*arguments, "--workspace", workspace)
        assert done.code == 3 and str(supernet) in done.refusal and "damaged" in done.refusal
    assert files(workspace) == before


def test_a_disk_that_fills_up_while_profiling_leaves_a_table_that_goes_on(hwnas, workspace, table):
    before = LatencyTable.read(table)
    with disk_full_beyond(table.stat().st_size + 100):
        done = hwnas("profile", "--resolution", "32", *FAKE, "--workspace", workspace)
    assert done.code == 3 and f"{table} cannot be written: File too large" in done.err.splitlines()[-1]
    assert dict(LatencyTable.read(table).visits) == dict(before.visits)
    assert hwnas("profile", "--resolution", "32", *FAKE, "--workspace", workspace).code == 0


def test_a_disk_that_is_full_leaves_the_supernet_as_it_was(hwnas, workspace, supernet):
    before = supernet.read_bytes()
    with disk_full_beyond(10_000):
        done = hwnas("train", "--steps", "1", "--batch", "2", "--space", "digits@0.5", "--workspace", workspace)
    assert done.code == 3 and "cannot be written: File too large" in done.err.splitlines()[-1]
    assert supernet.read_bytes() == before
    assert not [path for path in workspace.rglob("*") if ".tmp" in path.name or path.name.startswith("checkpoint")]


def test_a_disk_that_is_full_leaves_the_bundle_and_the_picture_as_they_were(tmp_path, files):
    def bundle(size):
        models = [ModelFile("onnx", b"x" * 10), ModelFile("tflite", b"x" * size)]
        return write_bundle(tmp_path / "bundle", models, labels=["a"], takes=INPUT, record=RECORD)

    bundle(10)
    before = files(tmp_path)
    with disk_full_beyond(5000), pytest.raises(InvalidInputError, match="cannot be written"):
        bundle(10_000)
    assert files(tmp_path) == before
    bundle(20)
    assert files(tmp_path) != before


def test_only_one_process_profiles_into_a_table(hwnas, workspace, table):
    with LatencyTable.read(table).writing():
        before = table.read_bytes()
        done = hwnas("profile", "--resolution", "32", *FAKE, "--workspace", workspace)
        assert done.code == 3 and "being written by another hwnas process" in done.refusal
        assert table.read_bytes() == before


def test_a_table_whose_last_record_was_cut_off_is_used_with_a_note(hwnas, workspace, table):
    table.write_bytes(table.read_bytes()[:-20])
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as it is outside of tests
        done = hwnas("table", "check", *FAKE, "--workspace", workspace, "--json")
    assert done.code == 0 and done.json["missing"] == []
    (line,) = done.err.splitlines()
    assert line.startswith("hwnas: note: ") and str(table) in line and "cut off" in line
