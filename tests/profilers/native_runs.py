"""Runs of the native runner on this machine, as a device would be made to do them."""

import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profilers.formats import FP32, Form, write
from profilers.graph import Graph
from profilers.local import sentinel_graph
from profilers.measurement import Plan
from profilers.runners import bundle
from profilers.runners.job import Answer, Job

MACHINE = platform.machine()
needs_compiler = pytest.mark.skipif(
    platform.system() != "Linux" or MACHINE not in bundle.LOADERS or not shutil.which("cc"),
    reason="the native runner is built on Linux, on x86-64 or aarch64, by a C compiler: apt install gcc",
)
TOKEN = "0123456789abcdef"
PLAN = Plan(target_pct=1.0, warmup_runs=3)
ENDLESS: dict[str, Any] = {"rounds": 10**9, "seconds": 1e6}


def conv(chs: int, form: Form = FP32) -> bytes:
    graph = Graph((1, 16, 24, 24))
    weight = np.random.default_rng(chs).standard_normal((chs, 16, 3, 3), dtype=np.float32)
    graph.finish(graph.conv(graph.input, weight, np.zeros(chs, np.float32)))
    return write(graph, "onnx", form, inner=True).content


BLOCKS = {0: conv(16), 1: conv(64), 2: conv(64, Form("int8", "split"))}


def job_folder(parent: Path) -> Path:
    (parent / "sentinel.onnx").write_bytes(write(sentinel_graph(1), "onnx", inner=True).content)
    (parent / "job 1").mkdir()
    return parent / "job 1"


def ask(folder: Path, models: Mapping[int, bytes] = BLOCKS, **settings: Any) -> None:
    """Write a job whose model files lie beside its folder."""
    for number, content in models.items():
        (folder.parent / f"{number}.onnx").write_bytes(content)
    given = {
        "token": TOKEN, "models": {number: f"../{number}.onnx" for number in models}, "sentinel": "../sentinel.onnx",
        "clock": "wall", "threads": 1, "cpus": (), "plan": PLAN, "rounds": 5, "seconds": 20.0, "seed": 17,
    }  # fmt: skip
    (folder / "job").write_text(str(Job(**{**given, **settings})))


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "job").read_text()
    assert old in text
    (folder / "job").write_text(text.replace(old, new))


def words(*arguments: object) -> list[str]:
    return [*bundle.command(MACHINE, str(bundle.runner_bundle(MACHINE))), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    ignoring = partial(signal.signal, signal.SIGALRM, signal.SIG_IGN)  # as what starts it on a device may do
    return subprocess.run(
        words(*arguments), capture_output=True, text=True, check=False, timeout=60, preexec_fn=ignoring
    )


def answer(folder: Path) -> Answer:
    """What the other end reads, which refuses lines it does not understand and a false count of visits."""
    found = Answer(TOKEN)
    found.take((folder / "result").read_text("ascii"))
    return found


def measured(folder: Path) -> Answer:
    done = run("--foreground", folder, TOKEN)
    assert done.returncode == 0, done.stderr
    return answer(folder)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def detached(folder: Path) -> Iterator[int]:
    """A run that goes on by itself, by its process; ended afterwards, unless it has ended."""
    done = run(folder, TOKEN)
    assert done.returncode == 0, done.stderr
    pid = int((folder / "pid").read_text())
    try:
        assert done.stdout == f"started {pid}\n"
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
