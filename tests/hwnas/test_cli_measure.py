"""`hwnas measure` times files of the user's own, and compares several."""

from pathlib import Path

import pytest

from profilers.formats import write
from profilers.local import sentinel_graph

pytestmark = pytest.mark.usefixtures("no_settings")

FACTS = {
    "file", "format", "file_bytes", "device", "runtime", "threads", "latency_ms", "interval_ms", "undisturbed", "all",
    "load_ms", "peak_memory_bytes", "ratio", "ratio_interval",
}  # fmt: skip
TOY = ("--device", "toy", "--workspace")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("profilers.footprint.TIMES", 1)
    (tmp_path / "devices.toml").write_text('[toy]\nruntime = "fake"\n')
    for name in ("a", "b"):
        (tmp_path / f"{name}.onnx").write_bytes(write(sentinel_graph(1), "onnx").content)
    return tmp_path


def test_files_are_timed_with_all_that_is_asked_of_them(hwnas, workspace):
    a, b = workspace / "a.onnx", workspace / "b.onnx"
    done = hwnas("measure", a, b, a, *TOY, workspace, "--json")
    assert done.code == 0, done.err
    first, second = done.json
    assert set(first) == set(second) == FACTS and (first["file"], second["file"]) == (str(a), str(b))
    assert first["file_bytes"] == a.stat().st_size and first["load_ms"] > 0
    for group in ("undisturbed", "all"):
        facts = first[group]
        assert facts["p50_ms"] <= facts["p90_ms"] <= facts["p99_ms"] and facts["repetitions"] >= 50
    low, high = first["interval_ms"]
    assert low <= first["latency_ms"] <= high
    assert first["ratio"] is None and second["ratio"] == pytest.approx(1, abs=0.005)


def test_one_file_gives_a_list_of_one_and_a_table_without_ratio(hwnas, workspace):
    a = workspace / "a.onnx"
    assert len(hwnas("measure", a, *TOY, workspace, "--quick", "--json").json) == 1
    shown = hwnas("measure", a, *TOY, workspace, "--quick")
    assert shown.code == 0 and str(a) in shown.out and "against first" not in shown.out and "p99" in shown.out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("a.onnx", "--quick", "--careful"), 2, "exclude each other"),
        ((), 2, "missing argument"),
        (("no.onnx",), 3, "no.onnx is not there"),
        (("a.onnx", "--runtime", "litert"), 3, "give --runtime onnxruntime"),
        (("a.onnx", "--device", "toaster"), 3, "unknown device 'toaster'"),
        (("devices.toml",), 3, "must end in .onnx or .tflite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_measured_is_refused(hwnas, workspace, monkeypatch, arguments, code, told):
    monkeypatch.chdir(workspace)
    done = hwnas("measure", *arguments, "--workspace", workspace)
    assert done.code == code and told in done.refusal
