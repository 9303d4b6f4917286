"""Whatever ends a run of the native runner, its answer stays whole and says why."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from onnx.parser import parse_model

from profilers.runners import bundle

from .native_runs import (
    BLOCKS,
    ENDLESS,
    MACHINE,
    TOKEN,
    alive,
    answer,
    ask,
    change,
    detached,
    measured,
    needs_compiler,
    run,
    until,
)

pytestmark = needs_compiler


LOOKS_UP_WHAT_IS_NOT_THERE = """<ir_version: 9, opset_import: ["": 17]>
fails (float[4] x) => (float[4] y) {
    many = Constant<value_float = 1000000.0>()
    far = Mul(x, many)
    index = Cast<to = 7>(far)
    y = Gather(x, index)
}"""


def test_a_model_that_the_runtime_refuses_fails_alone(folder: Path) -> None:
    ask(folder, {**BLOCKS, 7: b"no model", 8: parse_model(LOOKS_UP_WHAT_IS_NOT_THERE).SerializeToString()})
    found = measured(folder)
    assert found.failed.keys() == {7, 8}
    assert "rotobuf" in found.failed[7] and "indices element out of data bounds" in found.failed[8]
    assert {model for _, model, _ in found.visits} == {0, 1, 2} and len(found.visits) == 3 * 5


def test_without_a_sentinel_nothing_is_measured(folder: Path) -> None:
    ask(folder, sentinel="none.onnx")
    done = run("--foreground", folder, TOKEN)
    found = answer(folder)
    assert done.returncode == 1 and "sentinel" in done.stderr
    assert "sentinel cannot be loaded" in found.refused and not found.visits and not found.ended


def test_cpus_that_are_not_there_are_refused(folder: Path) -> None:
    ask(folder, cpus=(0, 1023))
    done = run("--foreground", folder, TOKEN)
    assert done.returncode == 1 and "0,1023" in done.stderr
    assert "0,1023" in answer(folder).refused


def test_a_start_that_is_told_twice_makes_one_run(folder: Path) -> None:
    ask(folder, **ENDLESS)
    with detached(folder) as pid:
        again = run(folder, TOKEN)
        assert (again.returncode, again.stdout) == (0, "started before\n")
        assert int((folder / "pid").read_text()) == pid and alive(pid)


def test_a_run_that_is_killed_says_what_it_was_at(folder: Path) -> None:
    ask(folder, **ENDLESS)
    with detached(folder) as pid:
        until(lambda: len(answer(folder).visits) > 20)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
        found = answer(folder)
        assert found.at in BLOCKS and not found.ended and not found.refused


def test_a_run_is_gone_after_its_deadline(folder: Path) -> None:
    ask(folder, **ENDLESS)
    deadline = next(line for line in (folder / "job").read_text().splitlines() if line.startswith("deadline"))
    change(folder, deadline, "deadline 1")
    done = run("--foreground", folder, TOKEN)
    assert done.returncode == -signal.SIGALRM
    assert not answer(folder).ended


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (f"hwnas-job 1 {TOKEN}", "hwnas-job 1 0123", "line 1 of the job"),
        ("hwnas-job 1", "hwnas-job 2", "line 1 of the job"),
        ("rounds 5", "rounds five", "of the job is not understood: rounds five"),
        ("rounds 5", "rounds 5 5", "not understood: rounds 5 5"),
        ("rounds 5", "rouns 5", "not understood: rouns 5"),
        ("rounds 5\n", "", "lacks a line"),
        ("rounds 5", "rounds 0", "value that cannot be"),
        ("clock wall", "clock sun", "value that cannot be"),
        ("visit_ms 0.5", "visit_ms nan", "value that cannot be"),
        ("2.onnx\n", "2.on", "not understood: model 2 ../2.on"),
    ],
)
def test_a_job_that_is_not_understood_is_quoted(folder: Path, old: str, new: str, said: str) -> None:
    ask(folder)
    change(folder, old, new)
    done = run(folder, TOKEN)
    assert done.returncode == 3 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (folder / "result").exists() and not (folder / "pid").exists()


def test_a_start_that_makes_no_sense_is_explained(folder: Path) -> None:
    for arguments in ([], [folder], [folder, "$(x)"], ["--foreground", folder], [folder, TOKEN, TOKEN]):
        done = run(*arguments)
        assert done.returncode == 2 and "use: runner" in done.stderr


def test_where_there_is_no_runtime_that_is_said(folder: Path, tmp_path: Path) -> None:
    ask(folder)
    (without := tmp_path / "without").mkdir()
    for path in bundle.runner_bundle(MACHINE).iterdir():
        if path.name != bundle.RUNTIME:
            shutil.copy(path, without)
    done = subprocess.run(
        [*bundle.command(MACHINE, str(without)), str(folder), TOKEN], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4 and bundle.RUNTIME in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a small disk")
def test_a_full_disk_ends_a_run_at_once(folder: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", folder], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        ask(folder, **ENDLESS)
        done = run("--foreground", folder, TOKEN)
        assert done.returncode == 5 and "No space left on device" in done.stderr
        assert answer(folder).visits and not answer(folder).ended
        for name in ("result", "pid"):
            (folder / name).rename(folder / f"{name} that fills the disk")
        again = run(folder, TOKEN)
        assert again.returncode == 5 and "full" in again.stderr
        assert not (folder / "result").exists()  # so that it can be started when there is room
    finally:
        subprocess.run(["umount", folder], check=True)
