"""The genuine runners measure a batch at the far end of a connection as they do anywhere."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from profilers.errors import DeviceError, FailedModelsError
from profilers.formats import ModelFile, write
from profilers.local import sentinel_graph
from profilers.measurement import Plan, Visit
from profilers.remote import RemoteProfiler

from .conftest import Open
from .local_shell import LocalShell
from .native_runs import needs_compiler
from .test_remote import whole_rounds

PLAN = Plan(target_pct=0.0, max_rounds=4, warmup_runs=2)
NATIVE = pytest.param({}, id="native", marks=needs_compiler)
PYTHON = pytest.param({"runner": sys.executable}, id="python")
LITERT = pytest.param({"runner": sys.executable, "runtime": "litert"}, id="python with litert")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runners are built once for all tests, and where the user's are not touched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def genuine(reached: Open) -> Open:
    def reach(**settings: object) -> RemoteProfiler:
        if settings.get("runtime") == "litert":
            pytest.importorskip("ai_edge_litert")
            pytest.importorskip("flatbuffers")
        return reached(**settings)

    return reach


def blocks(format: str) -> dict[str, ModelFile]:
    return {f"sentinel of {batch}": write(sentinel_graph(batch), format, inner=True) for batch in (1, 4)}


def fastest(visits: Iterator[Visit]) -> float:
    return min(visit.ms for visit in visits)


@pytest.mark.parametrize("settings", [NATIVE, PYTHON, LITERT])
def test_every_model_gets_its_rounds_and_nothing_is_left_behind(genuine, board: LocalShell, settings) -> None:
    with genuine(**settings) as profiler:
        models = blocks(profiler.format)
        rounds = list(whole_rounds(profiler.measure(models, PLAN)))
        version = profiler.fingerprint().runtime_version
    assert [set(found.visits) for found in rounds] == [set(models)] * 4
    small, large = (fastest(found.visits[name] for found in rounds) for name in models)
    assert 2 < large / small < 8  # four images at once
    assert version[0].isdigit()
    assert board.idle()
    assert [path.name.split("-")[0] for path in board.place.iterdir()] == [
        "python" if "runner" in settings else "runner"
    ]


@pytest.mark.parametrize("settings", [NATIVE, PYTHON])
def test_a_model_that_the_runtime_refuses_fails_alone_and_by_name(genuine, settings) -> None:
    rounds = []
    with genuine(**settings) as profiler:
        models = {**blocks("onnx"), "odd": ModelFile("onnx", "no model \N{SNOWMAN}".encode())}
        with pytest.raises(
            FailedModelsError, match=r"^board cannot run odd: .*; everything else was measured"
        ) as failed:
            rounds += whole_rounds(profiler.measure(models, PLAN))
    assert failed.value.models.keys() == {"odd"}
    assert [set(found.visits) for found in rounds] == [set(models) - {"odd"}] * 4


@pytest.mark.parametrize("settings", [NATIVE, PYTHON])
def test_a_runner_that_is_killed_is_started_again_and_loses_no_visit(genuine, board: LocalShell, settings) -> None:
    killed, seen = 0, 0
    with genuine(**settings) as profiler:
        for found in whole_rounds(profiler.measure(blocks("onnx"), replace(PLAN, max_rounds=3000))):
            seen += len(found.visits)
            if not killed:
                (killed,) = board.processes()
                os.kill(killed, signal.SIGKILL)
            if len(list(board.place.glob("run-*/job*"))) > 1:
                break
    assert killed and seen > 2


@pytest.mark.parametrize("settings", [NATIVE, PYTHON])
def test_cpus_that_are_not_there_are_named(genuine, settings) -> None:
    with (
        genuine(**settings, cpus=(1000,)) as profiler,
        pytest.raises(DeviceError, match=r"^board cannot measure: .*CPU"),
    ):
        list(profiler.measure(blocks("onnx"), PLAN))


@pytest.mark.parametrize("settings", [NATIVE, PYTHON])
def test_times_can_be_those_of_the_processor(genuine, settings) -> None:
    """Asleep or preempted, it does not run: the CPU's time is never more than the wall's, by which the test waits."""
    with genuine(**settings, clock="cpu") as profiler:
        began = time.process_time(), time.monotonic()
        rounds = list(whole_rounds(profiler.measure(blocks("onnx"), PLAN)))
        assert profiler.fingerprint().clock == "cpu"
    measured_s = sum(visit.ms for found in rounds for visit in found.visits.values()) / 1000
    assert 0 < measured_s < time.monotonic() - began[1]


def test_a_runtime_that_the_device_lacks_is_named(genuine, board: LocalShell, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # without any package
    python.chmod(0o755)
    said = rf"^{python} on the device cannot measure with onnxruntime: .*(numpy|onnxruntime).*; it takes Python 3.11"
    with genuine(runner=str(python)) as profiler, pytest.raises(DeviceError, match=said) as refused:
        profiler.fingerprint()
    assert "\n" not in str(refused.value)


def test_a_python_that_the_device_lacks_is_named(genuine) -> None:
    with (
        genuine(runner="/nowhere/python3") as profiler,
        pytest.raises(DeviceError, match=r"python3 .*: it is not there;"),
    ):
        profiler.fingerprint()


@pytest.mark.parametrize("settings", [NATIVE, PYTHON])
def test_what_was_put_there_once_stays_there(genuine, board: LocalShell, settings) -> None:
    sizes = list[int]()
    for _ in range(2):
        before = len(board.calls)
        with genuine(**settings) as profiler:
            profiler.fingerprint()
        sizes.append(sum(call[0] == "push" for call in board.calls[before:]))
    assert sizes == [1, 0]
