"""What a Python runner on a device writes is ASCII, line by line, whatever its runtime says."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from profilers.errors import DeviceError
from profilers.formats import write
from profilers.local import sentinel_graph
from profilers.measurement import Plan
from profilers.runners import there
from profilers.runners.job import Answer, Job
from profilers.runners.python import _write_package

TOKEN = "0123456789abcdef"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """One that the fake runtime does here, over a model and the sentinel."""
    monkeypatch.chdir(tmp_path)
    for name in ("sentinel.onnx", "0.onnx"):
        Path(name).write_bytes(write(sentinel_graph(1), "onnx", inner=True).content)
    return Job(
        token=TOKEN, models={0: "0.onnx"}, sentinel="sentinel.onnx", clock="wall", threads=1, cpus=(),
        plan=Plan(target_pct=1.0, warmup_runs=1), rounds=3, seconds=5.0, seed=1,
    )  # fmt: skip


def answered(job: Job) -> Answer:
    there._Answering(job, "fake").answer()
    answer = Answer(TOKEN, job.models)
    answer.take(Path("result").read_bytes().decode("ascii"))
    return answer


def test_a_job_is_done_as_asked(job: Job) -> None:
    answer = answered(job)
    assert answer.ended and [turn for turn, _, _ in answer.visits] == [0, 1, 2] and answer.runtime == "1"


def test_it_goes_on_until_its_rounds_are_done_however_precise_it_is(job: Job) -> None:
    assert len(answered(replace(job, rounds=60)).visits) == 60


def test_what_a_runtime_says_in_other_letters_stays_a_line_of_ascii(job: Job, monkeypatch) -> None:
    def refuse(content: bytes, device: object) -> None:
        raise DeviceError("modèle refusé:\n\N{SNOWMAN}\u2028 nothing\x0b more")

    monkeypatch.setattr("profilers.backends.fake.load", refuse)
    answer = answered(job)  # the sentinel is refused, too
    assert answer.refused.endswith("mod?le refus?: ? nothing more") and not answer.visits


def test_the_package_is_the_same_file_whenever_it_is_written_and_starts_anywhere(tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    _write_package(first)
    _write_package(second)
    assert first.read_bytes() == second.read_bytes()
    assert "__main__.py" in zipfile.ZipFile(first).namelist()
    done = subprocess.run(
        [sys.executable, "-I", first, "onnxruntime", "--version"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.startswith("hwnas-runner 1 onnxruntime 1.")


def test_a_run_that_was_started_is_not_started_again(tmp_path: Path, job: Job, capsys) -> None:
    (tmp_path / "pid").write_text("77\n")
    assert not there._detached(tmp_path)
    assert capsys.readouterr().out == "started before\n" and (tmp_path / "pid").read_text() == "77\n"
