"""Killed at any moment, the same command goes on: what was on the disk stays there, and the end is the same."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lut.table import LatencyTable

DEADLINE_S = 120  # after which a process is taken to hang

# The command as it is, with few images to judge subnets by, and looks on the way that do not go by the clock.
TRAIN = """
import sys
from hwnas.training import evaluate
from hwnas.training.probe import Probe
Probe.__init__.__defaults__ = (0.0,)
evaluate.BATCH, evaluate.CALIBRATION_BATCHES, evaluate.VALIDATION_BATCHES = 8, 1, 1
from hwnas.cli import main
sys.exit(main(sys.argv[1:]))
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")]


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "HWNAS_WORKSPACE": str(folder)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *command], stdout=pipe, stderr=pipe, text=True, env=environment, cwd=folder
    )


def end(command: list[str], folder: Path, when: Callable[[], bool], number: signal.Signals) -> tuple[int, str]:
    """Start a command, send a signal once `when` says so; returns the exit code and stderr."""
    with start(command, folder) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not when() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, errors


def finish(command: list[str], folder: Path) -> Any:
    with start(command, folder) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return json.loads(output)


def assert_interrupted(code: int, errors: str) -> None:
    assert code == 130 and "Traceback" not in errors
    said = [line for line in errors.splitlines() if line.startswith("hwnas: ")]
    assert len(said) == 1 and "the same command goes on" in said[0]


def whole_lines(path: Path) -> bytes:
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def test_profiling_loses_no_round_that_was_recorded(tmp_path):
    command = ["-m", "hwnas", "profile", "--space", "digits@0.25", "--resolution", "16", "--quick", "--json"]
    path = tmp_path / "tables" / "host-onnxruntime-fp32-t1-b1.jsonl"
    kept = b""
    for more_lines, number in ((1, signal.SIGKILL), (19, signal.SIGKILL), (1, signal.SIGINT), (2, signal.SIGKILL)):
        wanted = kept.count(b"\n") + more_lines
        code, errors = end(command, tmp_path, lambda wanted=wanted: whole_lines(path).count(b"\n") >= wanted, number)
        if number == signal.SIGINT:
            assert_interrupted(code, errors)
        else:
            assert code == -signal.SIGKILL, errors
        now = whole_lines(path)
        assert now.startswith(kept) and now.count(b"\n") >= wanted
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a torn last line is what a kill may leave
            LatencyTable.read(path)
        kept = now
    (done,) = finish(command, tmp_path)
    assert path.read_bytes().startswith(kept)
    table = LatencyTable.read(path)
    assert done["blocks"] == sum(not name.startswith("net ") for name in table.visits)
    assert finish(command, tmp_path)[0]["calibration_mean_error_pct"] > 0


PLAIN = ["--batch", "8"]
EVERYTHING = ["--batch", "8", "--recipe", "progressive", "--optimizer", "adamw", "--ema", "0.9", "--accumulate", "2"]
EVERYTHING += ["--clip-norm", "1", "--label-smoothing", "0.1", "--mixup", "0.2"]


@pytest.mark.parametrize("settings", [PLAIN, EVERYTHING], ids=["plain", "everything"])
def test_training_ends_with_the_weights_and_metrics_of_a_run_that_was_never_killed(tmp_path, settings):
    from safetensors import safe_open

    command = ["-c", TRAIN, "train", "--steps", "12", "--space", "digits@0.5", "--json", *settings]
    command += ["--checkpoint-every", "0.001s"]
    folder = tmp_path / "supernets" / "digits@0.5-digit-pairs"
    checkpoint = folder / "checkpoint.safetensors"

    def step() -> int:
        if not checkpoint.exists():
            return 0
        with safe_open(checkpoint, "np") as file:  # torch takes seconds to import: the training would be over
            return json.loads(file.metadata()["hwnas"])["step"]

    last = 0
    for more_steps, number in ((1, signal.SIGKILL), (2, signal.SIGINT), (1, signal.SIGKILL)):
        code, errors = end(command, tmp_path, lambda wanted=last + more_steps: step() >= wanted, number)
        if number == signal.SIGINT:
            assert_interrupted(code, errors)
        else:
            assert code == -signal.SIGKILL, errors
        assert last + more_steps <= step() < 12 and not (folder / "supernet.safetensors").exists()
        last = step()
    finish(command, tmp_path)
    assert not checkpoint.exists()
    (tmp_path / "unbroken").mkdir()
    unbroken = finish(command, tmp_path / "unbroken")
    supernet = tmp_path / "unbroken" / Path(unbroken["supernet"])
    assert (folder / "supernet.safetensors").read_bytes() == supernet.read_bytes()
    assert figures(folder / "metrics.csv") == figures(supernet.with_name("metrics.csv"))


def test_a_restart_that_is_killed_keeps_the_old_supernet_and_its_lock_ends_with_it(tmp_path):
    from safetensors import safe_open

    command = ["-c", TRAIN, "train", "--space", "digits@0.5", "--json", *PLAIN, "--checkpoint-every", "0.001s"]
    anew = [*command, "--steps", "12", "--seed", "5", "--restart"]
    folder = tmp_path / "supernets" / "digits@0.5-digit-pairs"
    checkpoint = folder / "next" / "checkpoint.safetensors"

    def step() -> int:
        with safe_open(checkpoint, "np") as file:
            return json.loads(file.metadata()["hwnas"])["step"]

    finish([*command, "--steps", "1"], tmp_path)
    before = (folder / "supernet.safetensors").read_bytes()
    with start(anew, tmp_path) as first:
        deadline = time.monotonic() + DEADLINE_S
        while not checkpoint.exists() and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        first.send_signal(signal.SIGSTOP)
        with start(anew, tmp_path) as second:
            _, errors = second.communicate(timeout=DEADLINE_S)
        assert second.returncode == 3 and "is being trained by another hwnas process: wait for it" in errors
        assert len([line for line in errors.splitlines() if line.startswith("hwnas: ")]) == 1
        first.kill()
        first.communicate(timeout=DEADLINE_S)
    assert 1 <= step() < 12 and (folder / "supernet.safetensors").read_bytes() == before
    finish(anew, tmp_path)
    assert (folder / "supernet.safetensors").read_bytes() != before and not checkpoint.exists()
    assert [row["step"] for row in figures(folder / "metrics.csv")] == [str(number) for number in range(1, 13)]


def figures(path: Path) -> list[dict[str, str]]:
    """Lines of a training's metrics, without the times."""
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in ("images/s", "seconds")} for row in csv.DictReader(file)]


STARTING = """
import builtins, os, signal, sys
from hwnas.cli import main
real = builtins.__import__
def interrupted(name, *rest):
    if name == "typer":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = interrupted
sys.exit(main(["devices"]))
"""


def test_ctrl_c_while_the_program_still_starts_is_one_line_too(tmp_path):
    with start(["-c", STARTING], tmp_path) as process:
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert_interrupted(process.returncode, errors)
