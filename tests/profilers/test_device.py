"""Devices are what `devices.toml` says, and a mistake in it is named with its file."""

import os
from dataclasses import fields, replace
from pathlib import Path

import platformdirs
import pytest

from profilers.configuration import add_device, configured_devices, find_device
from profilers.device import Device, Fingerprint, fingerprint
from profilers.errors import InvalidInputError, UnknownNameError
from profilers.formats import HSWISH_FORMS, PRECISIONS, Form


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration folder: not there yet."""
    folder = tmp_path / "config" / "hwnas"
    monkeypatch.setattr(platformdirs, "user_config_path", folder.with_name)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "devices.toml").write_text(text, encoding="utf-8")
    return folder / "devices.toml"


def test_this_machine_is_there_without_any_file(workspace: Path) -> None:
    assert configured_devices(workspace) == {"host": Device(name="host")}
    assert configured_devices(workspace / "not" / "there") == {"host": Device(name="host")}


def test_a_file_sets_every_field(workspace: Path) -> None:
    write(
        workspace,
        '[toy]\nconnect="ssh://me@board:2222"\nruntime="litert"\nprecision="int8"\nthreads=4\nbatch=8\n'
        'hswish="fused"\nclock="cpu"\ncpus=[0, 2]\nrunner="/usr/bin/python3.11"\ncooldown_s=5\n[plain]\n',
    )
    toy = Device(
        name="toy", connect="ssh://me@board:2222", runtime="litert", precision="int8", threads=4, batch=8,
        hswish="fused", clock="cpu", cpus=(0, 2), runner="/usr/bin/python3.11", cooldown_s=5,
    )  # fmt: skip
    assert configured_devices(workspace) == {"host": Device(name="host"), "toy": toy, "plain": Device(name="plain")}
    plain = Device(name="plain")
    for field in fields(Device):
        assert getattr(toy, field.name) != getattr(plain, field.name), "a new key of devices.toml: set it above"


ODD = Device(name="odd", connect="adb://a \"b\" 'c' $(d); e\\f", threads=2, cpus=(0, 2), cooldown_s=0.5)


def test_a_device_that_was_added_is_there_and_the_file_is_otherwise_as_it_was(workspace: Path) -> None:
    mine = write(workspace, "# mine\n[toy]\nthreads = 2  # enough").read_text()
    add_device(ODD, workspace / "devices.toml")
    assert configured_devices(workspace)["odd"] == ODD and configured_devices(workspace)["toy"].threads == 2
    assert (workspace / "devices.toml").read_text().startswith(mine)


def test_the_first_device_makes_the_file_and_its_folder(user_folder: Path, workspace: Path) -> None:
    add_device(ODD, user_folder / "devices.toml")
    assert configured_devices(workspace)["odd"] == ODD


def test_a_name_is_not_given_twice(workspace: Path) -> None:
    path = write(workspace, "[odd]\n")
    with pytest.raises(InvalidInputError, match="has a device 'odd' already"):
        add_device(ODD, path)
    assert path.read_text() == "[odd]\n"


def test_the_workspace_overrides_the_user_and_the_user_overrides_host(workspace: Path, user_folder: Path) -> None:
    write(user_folder, "[host]\nthreads=2\n[board]\nthreads=3\n[other]\nbatch=5\n")
    write(workspace, "[board]\nbatch=4\n")
    found = configured_devices(workspace)
    assert found["host"].threads == 2 and found["other"].batch == 5
    assert (found["board"].threads, found["board"].batch) == (1, 4)  # a section replaces a section


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[toy]\nthread=2\n", r"\[toy\] has an unknown key 'thread'; keys are .*threads"),
        ('[toy]\nname="other"\n', "unknown key 'name'"),
        ('[toy]\nthreads="2"\n', "threads must be of type int"),
        ("[toy]\nthreads=2.0\n", "threads must be of type int"),
        ("[toy]\nthreads=true\n", "threads must be of type int"),
        ("[toy]\ncpus=1\n", "cpus must be of type list"),
        ('[toy]\ncpus=["a", 1]\n', "cpus must be whole numbers"),
        ("[toy]\ncpus=[-1]\n", "cpus must be whole numbers"),
        ("[toy]\nthreads=0\n", "threads and batch are whole numbers from 1 on"),
        ("[toy]\nbatch=-1\n", "threads and batch are whole numbers from 1 on"),
        ('[toy]\nruntime="tensorflow"\n', "unknown runtime 'tensorflow': there is .*onnxruntime"),
        ('[toy]\nprecision="fp8"\n', "unknown precision of runtime onnxruntime 'fp8': there is fp32, int8"),
        ('[toy]\nruntime="fake"\nprecision="int8"\n', "unknown precision of runtime fake 'int8': there is fp32$"),
        ('[toy]\nhswish="melted"\n', "unknown form of h-swish 'melted': there is fused, split"),
        ("[toy]\nhswish=true\n", "hswish must be of type str"),
        ('[toy]\nclock="sun"\n', "unknown clock 'sun': there is cpu, wall"),
        ('[toy]\nconnect="telepathy"\n', "'telepathy' is no address: use local, adb://SERIAL or ssh://"),
        ('[toy]\nconnect="telepathy://me"\n', "unknown connection 'telepathy': there is adb, ssh"),
        ('[toy]\nconnect="ssh://"\n', "'ssh://' is no address"),
        ('[toy]\nconnect="adb://x"\nrunner="abacus"\n', "'abacus' is no runner: give none, python3, or"),
        (
            '[toy]\nconnect="adb://x"\nruntime="litert"\n',
            "our own runner measures with onnxruntime and not with litert",
        ),
        ('[toy]\nconnect="adb://x"\nrunner="/x/benchmark_model"\n', "measures with litert and not with onnxruntime"),
        ('[toy]\nrunner="python3"\n', "a local device has no runner"),
        ("[toy]\ncooldown_s=-1\n", "cooldown_s is a number of seconds from 0 on"),
        ("[toy]\ncooldown_s=nan\n", "cannot be read as TOML: nan is no finite number"),
        ("toy = 1\n", r"'toy' must be a section \[toy\]"),
        ("[toy\n", "cannot be read"),
        ("[toy]\n[toy]\n", "cannot be read"),
    ],
)
def test_a_mistake_in_a_file_is_refused_naming_file_and_mistake(workspace: Path, text: str, complaint: str) -> None:
    path = write(workspace, "[fine]\n" + text if text.startswith("[") else text)
    with pytest.raises(InvalidInputError, match=complaint) as refused:
        configured_devices(workspace)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_no_text_is_refused_by_name(workspace: Path) -> None:
    (workspace / "devices.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match=r"devices\.toml cannot be read"):
        configured_devices(workspace)
    (workspace / "devices.toml").unlink()
    (workspace / "devices.toml").mkdir()
    with pytest.raises(InvalidInputError, match=r"devices\.toml cannot be read"):
        configured_devices(workspace)


def test_an_unknown_device_is_refused_with_those_there_are(workspace: Path) -> None:
    write(workspace, "[pixel]\n")
    with pytest.raises(UnknownNameError, match="unknown device 'pixle': there is host, pixel") as refused:
        find_device("pixle", workspace)
    assert refused.value.exit_code == 3


def test_another_runtime_may_be_asked_for(workspace: Path) -> None:
    write(workspace, "[pixel]\nthreads=2\n")
    assert find_device("pixel", workspace) == Device(name="pixel", threads=2)
    assert find_device("pixel", workspace, "fake") == Device(name="pixel", threads=2, runtime="fake")
    with pytest.raises(UnknownNameError, match="unknown runtime"):
        find_device("pixel", workspace, "abacus")


def test_another_precision_may_be_asked_for_if_the_runtime_has_it(workspace: Path) -> None:
    write(workspace, '[pixel]\nruntime="litert"\n')
    assert find_device("pixel", workspace, precision="int8") == Device(name="pixel", runtime="litert", precision="int8")
    with pytest.raises(UnknownNameError, match="unknown precision of runtime fake 'int8'"):
        find_device("pixel", workspace, "fake", "int8")


def test_hswish_is_one_operation_in_float32_and_several_in_int8_unless_asked_for_otherwise() -> None:
    toy = Device(name="toy")
    assert toy.form == Form("fp32", "fused") and replace(toy, precision="int8").form == Form("int8", "split")
    for precision in PRECISIONS:
        for hswish in HSWISH_FORMS:
            assert replace(toy, precision=precision, hswish=hswish).form == Form(precision, hswish)


def test_asking_for_the_form_that_is_taken_anyway_is_the_same_device() -> None:
    toy = Device(name="toy", precision="int8")
    assert fingerprint(replace(toy, hswish="split")) == fingerprint(toy)
    assert fingerprint(toy).differences(fingerprint(replace(toy, hswish="fused"))) == ["hswish 'split' against 'fused'"]


def test_settings_that_change_costs_change_the_file_name_and_the_fingerprint() -> None:
    toy = Device(name="toy")
    settings = {"runtime": "fake", "precision": "int8", "threads": 2, "batch": 2, "hswish": "split"}
    others = [replace(toy, **{field: value}) for field, value in settings.items()]
    assert len({toy.slug, *(other.slug for other in others)}) == len(others) + 1
    assert replace(toy, name="other").slug != toy.slug
    for other, field in zip(others, settings, strict=True):
        told_apart = fingerprint(toy).differences(fingerprint(other))
        assert any(difference.startswith(f"{field} ") for difference in told_apart)


def test_times_of_different_clocks_and_cores_are_told_apart() -> None:
    toy = Device(name="toy", runtime="fake")
    assert fingerprint(toy).differences(fingerprint(replace(toy, clock="cpu"))) == ["clock 'wall' against 'cpu'"]
    assert fingerprint(toy).differences(fingerprint(replace(toy, cpus=(0, 3)))) == ["cpus '' against '0,3'"]


def test_differences_are_told_in_words_and_none_between_equals() -> None:
    mine = Fingerprint(
        machine="a",
        cores=os.cpu_count() or 1,
        runtime="fake",
        runtime_version="1",
        precision="fp32",
        threads=1,
        batch=1,
    )
    assert mine.differences(replace(mine)) == []
    assert mine.differences(replace(mine, machine="b", threads=2)) == ["machine 'a' against 'b'", "threads 1 against 2"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", ".hidden", "$(id)", "a;b"])
def test_a_name_that_could_not_be_a_file_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="no device name"):
        Device(name=name)
