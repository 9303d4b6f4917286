"""Whatever measures on a board, its times mean the same; and a runner that does not do is refused in one line."""

import stat
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lut.blocks import Block, chain
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers import backends
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.measurement import PLANS, Plan, Visit, calm_sentinel_ms, undisturbed
from profilers.profiler import open_profiler

from ..kit import TINY
from .lab import Board
from .namespaces import wait_until
from .scenes import brief, scene

pytestmark = pytest.mark.ssh
__all__ = ["brief"]

PLAN = Plan(target_pct=3.0, max_rounds=100, time_limit_s=3.0)
BLOCKS = [
    Block.parse(f"mbconv in_chs=24 out_chs=24 hw={hw} mid_chs=72 kernel={kernel} stride=1 se=True act=hswish")
    for hw, kernel in ((14, 3), (28, 5), (28, 3))
]
# What stands for a Python in which something is missing: the packages, the runtime, a year, all of it.
PYTHONS = {
    "No module named 'numpy'": "exec '{python}' -I -S \"$@\"",
    "onnxruntime is not installed": "exec '{python}' -c 'import sys; sys.modules[\"onnxruntime\"] = None; {go_on}",
    "it is Python 3.10": "exec '{python}' -c 'import sys; sys.version_info = (3, 10, 14); {go_on}",
    "it is not there": "exit 127",
}
GO_ON = """import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name="__main__")' "$@" """
# Both tools in the words of their sources; the time told grows with the size of the model.
BENCHMARK_MODEL = """
for word in "$@"; do case "$word" in --graph=*) model=${word#--graph=} ;; esac; done
size=$(wc -c <"$model") || exit 1
echo "INFO: Initialized session in 21.432ms." >&2
echo "INFO: Inference timings in us: Init: 21432, First inference: 91020, Warmup (avg): 60125.5, Inference (avg): $size"
"""
PERF_TEST = """
for model in "$@"; do :; done
size=$(wc -c <"$model") || exit 1
echo "Average inference time cost: 60.3562 ms"
printf 'Min Latency: 0.0000001 s\\nP50 Latency: 0.%07d s\\nP90 Latency: 1 s\\n' "$size"
"""


def put(board: Board, name: str, script: str) -> str:
    """A program on the board, by its path there."""
    folder = board.home / "my tools"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)
    return f"/home/my tools/{name}"


def latencies_ms(device: Device) -> dict[str, float]:
    """What each of BLOCKS takes on a device when nothing disturbs it."""
    rng, visits = np.random.default_rng(0), dict[str, list[Visit]]()
    with open_profiler(device) as profiler:
        models = {b.key: profiler.model(chain([(b, random_weights(rng))], 1), inner=True) for b in BLOCKS}
        for done in profiler.measure(models, PLAN):
            for name, visit in done.visits.items():
                visits.setdefault(name, []).append(visit)
    calm_ms = calm_sentinel_ms(visit for of_one in visits.values() for visit in of_one)
    return {name: undisturbed(of_one, calm_ms).latency_ms for name, of_one in visits.items()}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_runner_on_the_board_tells_what_this_machine_does(board: Board, runtime: str, precision: str) -> None:
    try:
        backends.load(runtime).version()
    except DeviceError as error:
        pytest.skip(str(error))
    asked = partial(Device, runtime=runtime, precision=precision, clock="cpu")  # which neighbours lengthen least
    runners = [sys.executable, *([""] if runtime == "onnxruntime" else [])]
    devices = [asked(name="board", connect=board.address, runner=runner) for runner in runners]
    here, *there = [latencies_ms(device) for device in (asked(name="here"), *devices)]
    for found in there:  # in the same unit, of the same model; neighbours may double any of them
        assert all(1 / 4 < found[name] / ms < 4 for name, ms in here.items()), (here, there)
    wait_until(lambda: not board.processes(), f"{board.processes()} still run", 5)
    assert all(path.name.startswith(("runner-", "python-")) for path in (board.home / ".cache/hwnas").iterdir())


@pytest.mark.parametrize("lacking", PYTHONS)
def test_a_python_that_does_not_do_is_refused_with_what_it_lacks(board: Board, lacking: str) -> None:
    script = PYTHONS[lacking].format(python=sys.executable, go_on=GO_ON)
    device = Device(name="board", connect=board.address, runner=put(board, "python3", script))
    with open_profiler(device) as profiler, pytest.raises(DeviceError) as refusal:
        profiler.fingerprint()
    assert "cannot measure with onnxruntime: " in str(refusal.value) and lacking in str(refusal.value)
    assert "\n" not in str(refusal.value) and "leave `runner` out" in str(refusal.value)
    wait_until(lambda: not board.processes(), f"{board.processes()} still run", 5)


@pytest.mark.parametrize(
    ("name", "script", "runtime"),
    [("benchmark_model", BENCHMARK_MODEL, "litert"), ("onnxruntime_perf_test", PERF_TEST, "onnxruntime")],
)
@pytest.mark.usefixtures("brief")
def test_a_tool_of_the_user_measures_a_space(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    name: str, script: str, runtime: str,
) -> None:  # fmt: skip
    try:
        backends.load(runtime).version()
    except DeviceError as error:
        pytest.skip(str(error))
    rounds = 3  # each visit is two calls over the network
    monkeypatch.setitem(PLANS, "quick", Plan(target_pct=1e-9, min_samples=rounds, max_rounds=rounds, time_limit_s=20.0))
    on_board = scene(board, tmp_path, capsys)
    tool = put(board, name, script)
    on_board.hwnas("devices", "add", "tool", "--connect", board.address, "--runtime", runtime, "--runner", tool)
    done = on_board.profile("tool")
    assert done.code == 0, done
    table = LatencyTable.read(Path(done.only["table"]))
    assert table.fingerprint.runner == name and not table.missing(TINY.vocabulary)
    assert {len(visits) for visits in table.visits.values()} == {rounds}
    on_board.assert_nothing_left()


@pytest.mark.usefixtures("brief")
def test_a_tool_that_says_something_else_is_quoted(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_board = scene(board, tmp_path, capsys)
    tool = put(board, "onnxruntime_perf_test", "echo 'Total inference time: $(touch canary) 3 s'")
    on_board.hwnas("devices", "add", "tool", "--connect", board.address, "--runner", tool)
    refused = on_board.profile("tool")
    assert refused.code == 4
    assert "it said: Total inference time: $(touch canary) 3 s" in refused.complaint
    on_board.assert_nothing_left()
