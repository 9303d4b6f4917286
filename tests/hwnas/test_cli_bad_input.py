"""What cannot be done is said in one line on stderr: what happened, why, what to do; and nothing is spoilt."""

import signal
import sys
import warnings

import pytest

from hwnas.arch import Arch
from hwnas.cli import main
from hwnas.cli.values import duration_s, latency_ms, pause_s
from hwnas.spaces import open_space
from profilers import errors

DIGITS = open_space("digits")
FAKE = ("--runtime", "fake")

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


@pytest.mark.parametrize("command", ["profile", "search", "specialize", "table show", "table check"])
def test_an_unknown_device_is_answered_with_those_there_are(hwnas, tmp_path, command, files):
    budget = ("--latency", "1ms") if command in ("search", "specialize") else ()
    done = hwnas(*command.split(), "--device", "toaster", *budget, "--workspace", tmp_path)
    assert done.code == 3 and "unknown device 'toaster': there is host" in done.refusal
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("profile", "--space", "nasnet"), "unknown space 'nasnet': there is digits, ofa-mbv3"),
        (("profile", "--space", "digits@wide"), "the width behind @"),
        (("profile", "--runtime", "toaster"), "unknown runtime 'toaster': there is litert, onnxruntime"),
        (("profile", "--resolution", "big"), "no list of resolutions"),
        (("profile", "--resolution", "7"), "from 8 to 4096"),
        (("train", "--data", "imagenet"), "unknown data set 'imagenet': there is cifar10"),
        (("train", "--recipe", "toast"), "unknown recipe 'toast': there is attentive"),
        (("train", "--space", "ofa-mbv3"), "images of 1x224x224"),
        (("search", "--latency", "1ms", "--space", "nasnet"), "unknown space 'nasnet': there is digits, ofa-mbv3"),
        (("search", "--latency", "1ms", *FAKE, "--accuracy", "nowhere.npz"), "nowhere.npz is not there"),
        (("search", "--latency", "1ms", *FAKE, "--algorithm", "toast"), "unknown search algorithm 'toast': there is"),
        (("search", "--latency", "1ms", *FAKE, "--data", "imagenet"), "unknown data set 'imagenet'"),
        (("specialize", "--latency", "1ms", *FAKE, "--data", "imagefolder:nowhere"), "nowhere is no folder"),
        (("table", "diff", "nowhere.jsonl", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
        (("report",), "hwnas specialize --latency"),
        (("table", "show"), "host was not profiled yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_and_values_that_mean_nothing_are_refused(hwnas, tmp_path, arguments, message, files):
    done = hwnas(*arguments) if "diff" in arguments else hwnas(*arguments, "--workspace", tmp_path)
    assert done.code == 3 and message in done.refusal
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "latency", ["80", "0ms", "-1ms", "nanms", "nan", "", " ", "inf", "infms", "1e3ms", "ms", "1 ms", "80ms,", "1ms;2ms",
                "0.0s", "80MS", "1ns", "٣ms", "9" * 400 + "s", "1ms\n2"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["search", "specialize"])
def test_a_budget_that_is_no_latency_is_refused(hwnas, tmp_path, command, latency, files):
    done = hwnas(command, "--latency", latency, *FAKE, "--workspace", tmp_path)
    assert done.code == 3 and "is no latency: give a number above 0 with a unit" in done.refusal
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("profile", "--resolution", "9" * 5000), "is no list of resolutions"),
        (("search", "--latency", f"0.{'0' * 320}1ms"), "is no latency"),
        (("search", "--latency", f"1{'0' * 320}ms"), "is no latency"),
        (("search", "--latency", "1ms", "--macs", f"0.{'0' * 320}1"), "is no count"),
        (("search", "--latency", "1ms", "--memory", f"1{'0' * 320}GB"), "is no size"),
        (("train", "--time", "0s"), "is no duration"),
        (("train", "--time", f"1{'0' * 320}h"), "is no duration"),
        (("train", "--checkpoint-every", "1d"), "is no duration"),
        (("profile", "--cooldown", f"{'9' * 320}h"), "is no pause"),
        (("devices", "add", "toy", "--connect", "local", "--threads", "1000000000", "--only-here"), "up to 1024"),
        (("profile", "--space", "digits@0"), "the width behind @"),
        (("profile", "--space", "digits@1" + "0" * 400), "the width behind @"),
    ],
    ids=lambda value: " ".join(part[:20] for part in value) if isinstance(value, tuple) else "",
)
def test_numbers_beyond_all_measure_are_refused_in_one_short_line(hwnas, tmp_path, arguments, message, files):
    done = hwnas(*arguments, "--workspace", tmp_path)
    assert done.code == 3 and message in done.refusal and len(done.refusal) < 700
    assert not files(tmp_path)


@pytest.mark.parametrize("classes", [0, -1, 10**9])
def test_a_head_for_more_classes_than_memory_holds_is_refused(classes):
    with pytest.raises(errors.InvalidInputError, match="from 1 to 100000 classes"):
        open_space("digits", classes=classes)


def test_a_batch_that_memory_cannot_hold_is_refused_before_it_is_made(hwnas, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.get(name, 1))
    done = hwnas("train", "--batch", "640", "--steps", "1", "--workspace", tmp_path)
    assert done.code == 3 and "a batch of 640 images of 1x40x40 takes 0.0 GB" in done.refusal
    assert hwnas("train", "--batch", "1000000000", "--workspace", tmp_path).code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("1ms", 0.001), ("250us", 0.00025), ("90s", 90), ("1.5m", 90), (".5h", 1800), (" 2h ", 7200)]
)
def test_durations_have_one_spelling_everywhere(text, seconds):
    assert duration_s(text) == pause_s(text) == pytest.approx(seconds)
    assert latency_ms(text.strip()) == pytest.approx(1000 * seconds)


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",), ("specialize",), ("train", "--steps", "0"), ("train", "--steps", "many"), ("train", "--batch", "1"),
        ("train", "--lr", "0"), ("train", "--seed", "-1"), ("train", "--seed", str(2**64)), ("profile", "--wide"),
        ("profile", "--quick", "--careful"), ("export",), ("table", "diff", "one"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_ends_with_code_2(hwnas, tmp_path, monkeypatch, arguments, files):
    monkeypatch.chdir(tmp_path)
    done = hwnas(*arguments)
    assert done.code == 2 and "; see hwnas" in done.refusal
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "arch", ["", "digits", "digits:1-2", str(Arch("elsewhere", DIGITS.smallest.values)), "digits:x"]
)
def test_an_architecture_of_elsewhere_is_not_exported(hwnas, workspace, tmp_path, arch):
    done = hwnas("export", "--arch", arch, "--output", tmp_path / "net.onnx", "--workspace", workspace)
    assert done.code == 3 and done.refusal
    assert not (tmp_path / "net.onnx").exists()


def test_a_format_that_nothing_writes_is_answered_with_those_there_are(hwnas, workspace, tmp_path):
    done = hwnas("export", "--arch", DIGITS.smallest, "--output", tmp_path / "net.caffe", "--workspace", workspace)
    assert done.code == 3 and "unknown format 'caffe': there is onnx" in done.refusal


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"3", b"\xff", b'{"device": "host"}'])
def test_a_damaged_bundle_is_named(hwnas, tmp_path, content):
    (tmp_path / "bundles" / "one").mkdir(parents=True)
    (tmp_path / "bundles" / "one" / "bundle.json").write_bytes(content)
    done = hwnas("report", "--workspace", tmp_path)
    assert done.code == 3 and "bundle.json" in done.refusal


def test_a_runtime_that_is_not_installed_is_a_matter_of_the_device(hwnas, tmp_path, monkeypatch, files):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = hwnas("profile", "--runtime", "onnxruntime", "--workspace", tmp_path)
    assert done.code == 4 and "onnxruntime is not installed" in done.refusal
    assert not files(tmp_path)


def test_devices_that_cannot_be_read_are_named(hwnas, tmp_path):
    (tmp_path / "devices.toml").write_text("[toy\n")
    done = hwnas("devices", "--workspace", tmp_path)
    assert done.code == 3 and "devices.toml cannot be read" in done.refusal


def test_a_workspace_that_is_a_file_is_refused(hwnas, tmp_path):
    (tmp_path / "file").write_text("mine")
    for command in (("profile", *FAKE), ("train", "--steps", "1", "--batch", "2"), ("report",)):
        done = hwnas(*command, "--workspace", tmp_path / "file")
        assert done.code == 3 and "Traceback" not in done.err
    assert (tmp_path / "file").read_text() == "mine"


def test_every_error_has_its_documented_exit_code():
    of_ours = (e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.HwnasError))
    assert {error.__name__: error.exit_code for error in of_ours} == {
        "HwnasError": 1, "InvalidInputError": 3, "UnknownNameError": 3, "DeviceError": 4, "LostError": 4,
        "UnauthorisedError": 4, "FailedModelsError": 4, "UntrustedError": 5, "InfeasibleError": 6,
    }  # fmt: skip


def test_main_gives_signals_and_warnings_back(tmp_path):
    def state():
        return [*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)), warnings.showwarning]

    before = state()
    assert main(["report", "--workspace", str(tmp_path)]) == 3
    assert state() == before
