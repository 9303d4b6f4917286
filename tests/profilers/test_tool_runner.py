"""A benchmarking tool that the user put on the device is understood word by word, or quoted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from profilers import remote
from profilers.errors import DeviceError, FailedModelsError
from profilers.formats import ModelFile
from profilers.measurement import Plan
from profilers.runners.tool import benchmark_model_ms, perf_test_ms

from .conftest import Open
from .local_shell import LocalShell

# What TFLite's benchmark_model (tensorflow/lite/tools/benchmark, v2.17) says, and its line in Android's log.
BENCHMARK_MODEL = """INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [20]
INFO: Graph: [net.tflite]
INFO: Loaded model net.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: The input model file size (MB): 0.013
INFO: Initialized session in 21.432ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=9 first=91020 curr=60012 min=54310 max=91020 avg=60125.5 std=11032 p5=54310 median=57020 p95=91020
INFO: count=20 first=31500 curr=31002 min=30900 max=31900 avg=31118.1 std=210 p5=30901 median=31050 p95=31890
INFO: Inference timings in us: Init: 21432, First inference: 91020, Warmup (avg): 60125.5, Inference (avg): 31118.1
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE
INFO: Memory footprint delta from the start of the tool (MB): init=5.2 overall=9.4
"""
LOGCAT = (
    "03-14 15:09:26.535  4711  4711 I tflite  : Inference timings in us: Init: 8025, First inference: 1510, "
    "Warmup (avg): 1433.2, Inference (avg): {}\r\n"
)
# What onnxruntime_perf_test (1.2x) says.
PERF_TEST = """Session creation time cost: 0.0130939 s
First inference time cost: 61 ms
Total inference time cost: 1.20712 s
Total inference requests: 20
Average inference time cost: 60.3562 ms
Total inference run time: 1.2072 s
Number of inferences per second: 16.5673
Avg CPU usage: 50 %
Peak working set size: 31924224 bytes
Avg CPU usage:50
Peak working set size:31924224
Runs:20
Min Latency: 0.0581 s
Max Latency: 0.0712 s
P50 Latency: 0.0603562 s
P90 Latency: 0.0652 s
P95 Latency: 0.0671 s
P99 Latency: 0.0712 s
P999 Latency: 0.0712 s
"""


@pytest.mark.parametrize(
    ("said", "ms"),
    [
        (BENCHMARK_MODEL, 31.1181), (LOGCAT.format("1389.12"), 1.38912), (LOGCAT.format("1.04e+06"), 1040.0),
        (LOGCAT.format("97"), 0.097), (LOGCAT.format("8.5e-01"), 0.00085),
    ],
)  # fmt: skip
def test_benchmark_model_tells_the_mean_of_its_runs(said: str, ms: float) -> None:
    assert benchmark_model_ms(said) == pytest.approx(ms)


@pytest.mark.parametrize(("told", "ms"), [("0.0603562", 60.3562), ("5.8e-05", 0.058), ("2", 2000.0)])
def test_onnxruntime_perf_test_tells_the_median_of_its_runs(told: str, ms: float) -> None:
    assert perf_test_ms(PERF_TEST.replace("P50 Latency: 0.0603562", f"P50 Latency: {told}")) == pytest.approx(ms)


@pytest.mark.parametrize(
    "said",
    [
        "", "ERROR: Failed to open model", BENCHMARK_MODEL.replace("Inference (avg)", "Inference (std)"),
        BENCHMARK_MODEL.replace("31118.1\nINFO: Note", "31118.1 and more\nINFO: Note"), PERF_TEST, BENCHMARK_MODEL * 2,
        *(LOGCAT.format(told) for told in ("0", "0.0", "nan", "-nan", "inf", "-3", "1e999", "1,5", "1.5ms", "0x1", "")),
    ],
)  # fmt: skip
def test_what_benchmark_model_does_not_tell_clearly_is_quoted(said: str) -> None:
    with pytest.raises(DeviceError, match="benchmark_model told no latency that is understood, it said: ") as no:
        benchmark_model_ms(said)
    assert " ".join(said.split())[-100:] in str(no.value) and "\n" not in str(no.value)


@pytest.mark.parametrize(
    "said",
    ["", BENCHMARK_MODEL, PERF_TEST * 2, "P90 Latency: 0.0603562 s", "P50 Latency: 60.4 ms",
     *(f"P50 Latency: {told} s" for told in ("0", "nan", "-nan", "inf", "-1", "1e999", ""))],
)  # fmt: skip
def test_what_perf_test_does_not_tell_clearly_is_quoted(said: str) -> None:
    with pytest.raises(DeviceError, match="onnxruntime_perf_test told no latency that is understood, it said: "):
        perf_test_ms(said)


# Stand-ins that take what a model file says, in ms, and note the words they were called with.
STAND_INS = {
    "benchmark_model": """#!/bin/sh -e
printf '%s\\n' "$*" >>"$0.calls"
for word; do case $word in --graph=*) model=${word#--graph=} ;; esac; done
read -r ms <"$model"
[ "$ms" != refuse ] || { echo "ERROR: Didn't find op for builtin opcode" >&2; exit 1; }
[ ${#ms} -lt 9 ] || ms=1  # the sentinel, a genuine model
echo "INFO: Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): ${ms}000.5" >&2
""",
    "onnxruntime_perf_test": """#!/bin/sh -e
printf '%s\\n' "$*" >>"$0.calls"
for model; do :; done
read -r ms <"$model"
[ ${#ms} -lt 9 ] || ms=1
echo "P50 Latency: 0.00${ms}5 s"
""",
}
FORMATS = {"benchmark_model": ("litert", "tflite"), "onnxruntime_perf_test": ("onnxruntime", "onnx")}
PLAN = Plan(target_pct=0.0, max_rounds=2, warmup_runs=7)


@pytest.fixture(params=STAND_INS)
def tool(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return stand_in(tmp_path, request.param)


def stand_in(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(STAND_INS[name])
    path.chmod(0o755)
    return path


@pytest.fixture
def with_tool(reached: Open) -> Callable[..., object]:
    def reach(tool: Path, **settings: object):
        runtime, _ = FORMATS[tool.name]
        pytest.importorskip({"litert": "ai_edge_litert", "onnxruntime": "onnxruntime"}[runtime])
        return reached(runtime=runtime, runner=str(tool), **settings)

    return reach


def models(tool: Path, *texts: str) -> dict[str, ModelFile]:
    return {text: ModelFile(FORMATS[tool.name][1], f"{text}\n".encode()) for text in texts}


def calls(tool: Path) -> list[str]:
    return tool.with_name(f"{tool.name}.calls").read_text().splitlines()


def test_each_visit_is_a_call_with_calls_for_the_sentinel_around_it(with_tool, tool, board: LocalShell) -> None:
    with with_tool(tool, threads=2) as profiler:
        rounds = [found for found in profiler.measure(models(tool, "2", "3"), PLAN) if found.visits]
        assert profiler.fingerprint().runner == tool.name
    more = 0.0005 if tool.name == "benchmark_model" else 0.5
    for found in rounds:
        assert {name: visit.ms for name, visit in found.visits.items()} == {
            name: pytest.approx(int(name) + more) for name in ("2", "3")
        }
        assert all(visit.sentinel_ms == pytest.approx(1 + more) for visit in found.visits.values())
    assert len(rounds) == 2 and len(calls(tool)) == 1 + 2 * 2 * 2
    words = " ".join(calls(tool))
    if tool.name == "benchmark_model":
        assert "--num_threads=2" in words and "--warmup_runs=7" in words and "--num_runs=20" in words
    else:
        assert "-m times -r 20 -x 2 -y 1" in words
    assert board.idle() and not list(board.place.iterdir())


def test_a_model_on_which_the_tool_fails_fails_alone(with_tool, tmp_path: Path) -> None:
    tool, rounds = stand_in(tmp_path, "benchmark_model"), []
    with with_tool(tool) as profiler, pytest.raises(FailedModelsError) as failed:
        rounds += profiler.measure(models(tool, "2", "refuse"), PLAN)
    assert failed.value.models == {
        "refuse": "benchmark_model ended with code 1, it said: ERROR: Didn't find op for builtin opcode"
    }
    assert sum("2" in found.visits for found in rounds) == 2


def test_a_tool_that_is_not_understood_for_the_sentinel_ends_it_all(with_tool, tool) -> None:
    tool.write_text("#!/bin/sh\necho nothing that anybody wants to know\n")
    with with_tool(tool) as profiler, pytest.raises(DeviceError, match="it said: nothing that anybody wants to know"):
        list(profiler.measure(models(tool, "2"), PLAN))


def test_a_tool_keeps_to_the_cpus_asked_for(with_tool, tool, board: LocalShell) -> None:
    with with_tool(tool, cpus=(0,)) as profiler:
        list(profiler.measure(models(tool, "2"), PLAN))
    assert next(call for call in board.calls if call[1] == "taskset")[1:4] == ("taskset", "1", str(tool))
    with with_tool(tool, cpus=(0, 1023)) as profiler:  # of which it then uses the one that is there
        list(profiler.measure(models(tool, "2"), PLAN))
    masks = [call[2] for call in board.calls if call[1] == "taskset"]
    assert int(masks[-1], 16) == 1 | 1 << 1023


@pytest.mark.parametrize("broken", ["missing", "no program"])
def test_a_tool_that_cannot_be_started_is_named(with_tool, tool, broken: str) -> None:
    tool.unlink() if broken == "missing" else tool.chmod(0o644)
    with with_tool(tool) as profiler, pytest.raises(DeviceError, match="is no program on the device: put it there"):
        list(profiler.measure(models(tool, "2"), PLAN))


def test_a_tool_has_no_clock_but_the_one_on_the_wall(with_tool, tool) -> None:
    with with_tool(tool, clock="cpu") as profiler, pytest.raises(DeviceError, match="has no cpu clock"):
        profiler.fingerprint()


def test_stretches_of_one_visit_make_rounds_too(with_tool, tool, monkeypatch) -> None:
    """Each ends in the middle of a round, and the next begins another; no model starves, none is overdone for ever."""
    monkeypatch.setattr(remote, "STRETCH_S", 1e-6)
    monkeypatch.setattr(remote, "LOADING_SHARE", 0.0)
    with with_tool(tool) as profiler:
        found = [
            one for one in profiler.measure(models(tool, "2", "3", "4"), replace(PLAN, max_rounds=3)) if one.visits
        ]
    assert all(len(one.visits) == 1 for one in found)
    counts = Counter(name for one in found for name in one.visits)
    assert min(counts.values()) == 3 and len(counts) == 3
    assert (len(calls(tool)) - 2 * len(found)) == len(found)  # the sentinel before and after each
