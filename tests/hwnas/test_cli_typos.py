"""A typo costs nothing: it is told before anything heavy is imported, with what was meant where that is plain."""

import subprocess
import sys

import pytest

from profilers import backends
from profilers.errors import UnknownNameError, nearest

pytestmark = pytest.mark.usefixtures("no_settings")

HEAVY = ("torch", "sklearn", "scipy", "onnx", "onnxruntime", "matplotlib", "safetensors")
WRONG = (
    "profile --space nasnet", "profile --runtime toaster", "profile --precision int7", "profile --device toaster",
    "profile --resolution big", "profile --quick --careful", "profile --cooldown long", "bogus", "profile --wide",
    "train --data imagenet", "train --data folder:x", "train --recipe toast", "train --optimizer toast",
    "train --space nasnet", "train --time long", "train --checkpoint-every long", "train --resolution 7",
    "train --steps 3 --time 3s", "search --latency 80", "search --latency 1ms --algorithm toast",
    "search --latency 1ms --accuracy nowhere.npz", "search --latency 1ms --guess all", "search --latency 1ms --macs 3X",
    "specialize --latency 1ms --data imagefolder:nowhere", "specialize --latency 1ms --device toaster",
    "evaluate --arch digits", "evaluate --split half --arch digits:1", "export --arch digits", "report",
    "table show --device toaster", "table price digits:1 --space nasnet", "table diff no.jsonl where.jsonl",
    "table import no.yaml --device d --format toast", "supernet import no.pth --space ofa-mbv3",
    "devices check toaster", "devices add pi --connect local --runtime toaster", "table check --space nasnet",
)  # fmt: skip
RUN_ALL = f"""
import sys
from hwnas.cli import main
for command in {WRONG!r}:
    code = main(command.split())
    print(command, code, *(name for name in {HEAVY!r} if name in sys.modules), sep="|")
"""


def test_no_typo_waits_for_a_heavy_import(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert len(done.stderr.splitlines()) == len(WRONG) and "Traceback" not in done.stderr
    for line, command in zip(done.stdout.splitlines(), WRONG, strict=True):
        name, code, *imported = line.split("|")
        assert (name, imported) == (command, []) and code in ("2", "3"), line


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("profile", "--runtime", "tflite"), "litert"),
        (("profile", "--runtime", "ONNXRuntime"), "onnxruntime"),
        (("profile", "--runtime", "torch_cuda"), "torch-cuda"),
        (("profile", "--precision", "INT8"), "int8"),
        (("profile", "--precision", "float32"), "fp32"),
        (("profile", "--space", "ofa-mvb3@1.2"), "ofa-mbv3"),
        (("train", "--recipe", "sandwhich"), "sandwich"),
        (("train", "--optimizer", "adam"), "adamw"),
        (("train", "--data", "digits"), "digit-pairs"),
        (("train", "--data", "folder:photos"), "imagefolder:photos"),
        (("search", "--latency", "host:100us"), "host=100us"),
        (("search", "--latency", "pi:1ms,host:100us"), "pi=1ms"),
        (("search", "--latency", "80"), "80ms"),
        (("search", "--latency", "80 MS"), "80ms"),
        (("search", "--latency", "1ms", "--algorithm", "aneal"), "annealing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_near_miss_is_answered_with_what_was_meant(hwnas, arguments, meant):
    done = hwnas(*arguments)
    assert done.code == 3 and done.refusal.endswith(f"; did you mean {meant}?")


def test_a_near_miss_of_a_device_is_one_of_the_users_own(hwnas, tmp_path):
    (tmp_path / "devices.toml").write_text('[pixel]\nruntime = "fake"\n')
    done = hwnas("profile", "--device", "pixl", "--workspace", tmp_path)
    assert done.refusal == "hwnas: unknown device 'pixl': there is host, pixel; did you mean pixel?"


def test_a_folder_given_as_a_data_set_is_one_of_images(hwnas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert hwnas("train", "--data", "photos").refusal.endswith("; did you mean imagefolder:photos?")
    assert hwnas("train", "--data", str(tmp_path)).refusal.endswith(f"; did you mean imagefolder:{tmp_path}?")


@pytest.mark.parametrize("name", ["", "x", "zzz", "qwertyuiop", "☃"])
def test_what_is_near_to_nothing_gets_no_suggestion(name):
    assert not nearest(name, ["litert", "onnxruntime", "fp32"])
    assert "did you mean" not in str(UnknownNameError("runtime", name, ["litert", "onnxruntime"]))


def test_the_runtime_for_tests_is_usable_and_offered_to_nobody(hwnas, tmp_path):
    assert "fake" in backends.names() and backends.load("fake").FORMAT == "onnx"
    for name in ("toaster", "fak"):
        assert "fake" not in hwnas("profile", "--runtime", name, "--workspace", tmp_path).refusal
    for command in ("profile", "devices", "table", "search"):
        assert "fake" not in hwnas(command, "--help").out
