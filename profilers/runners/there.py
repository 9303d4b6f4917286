"""What runs on a device that has Python: reads a job, measures as LocalProfiler does, writes the answer line by line.

    python3 hwnas-runner.zip RUNTIME --version
    python3 hwnas-runner.zip RUNTIME FOLDER TOKEN

Like the native runner it detaches first: FOLDER/pid is its process, FOLDER/log what it says, FOLDER/result its answer.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from profilers import backends
from profilers.backends import Session
from profilers.device import Device
from profilers.errors import DeviceError, HwnasError
from profilers.formats import ModelFile
from profilers.local import LocalProfiler
from profilers.runners.job import VERSION, Job


def main() -> None:
    """Do what the command line says."""
    runtime, *rest = sys.argv[1:]
    if rest == ["--version"]:
        try:
            _say(f"hwnas-runner {VERSION} {runtime} {backends.load(runtime).version()}")
        except HwnasError as error:
            sys.exit(str(error))
        return
    folder = Path(rest[0])
    job = Job.parse((folder / "job").read_text())
    if _detached(folder):
        signal.alarm(job.deadline_s)
        os.chdir(folder)
        _Answering(job, runtime).answer()


def _detached(folder: Path) -> bool:
    """Go on in a process of its own session: true there. Started again, because an answer was lost, it does nothing."""
    try:
        pid_file = os.open(folder / "pid", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        _say("started before")
        return False
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    if child := os.fork():
        os.write(pid_file, f"{child}\n".encode())
        _say(f"started {child}")
        return False
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, log, log)):
        os.dup2(file, number)
    return True


class _Answering(LocalProfiler):
    """Measures the job's files by their numbers."""

    def __init__(self, job: Job, runtime: str) -> None:
        super().__init__(Device(name="here", runtime=runtime, threads=job.threads, clock=job.clock, cpus=job.cpus))
        self._job, self._at = job, ""
        self._result = os.open("result", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def answer(self) -> None:
        """Measure until the job's time is over."""
        self._write("hwnas-result", VERSION, self._job.token)
        self._write("runtime", self._backend.version())
        never = replace(self._job.plan, min_samples=0, target_pct=-1.0)  # converged: the host decides that
        plan = replace(never, max_rounds=self._job.rounds, time_limit_s=self._job.seconds)
        visits = 0
        try:
            models = {str(number): self._file(file) for number, file in self._job.models.items()}
            for turn, found in enumerate(self.measure(models, plan)):
                for number, visit in found.visits.items():
                    figures = f"{visit.ms:.6f}", f"{visit.sentinel_ms:.6f}", int(visit.preempted)
                    self._write("visit", turn, number, *figures)
                    visits += 1
            self._write("end", visits)
        except HwnasError as error:
            self._write("refused", _line(error))

    def _write(self, *words: object) -> None:
        os.write(self._result, (" ".join(map(str, words)) + "\n").encode("ascii", "replace"))  # at once, for readers

    def _file(self, path: str) -> ModelFile:
        return ModelFile(self.format, Path(path).read_bytes())

    def _sentinel_model(self) -> ModelFile:
        return self._file(self._job.sentinel)

    def _failed(self, name: str, error: DeviceError) -> None:
        self._write("failed", name, _line(error))

    def _session(self, name: str, model: ModelFile) -> Session:
        self._now_at(name)
        run = super()._session(name, model)

        def marked() -> float:
            self._now_at(name)
            return run()

        return marked

    def _now_at(self, name: str) -> None:
        if name not in {self._at, "sentinel"}:
            self._at = name
            self._write("at", name)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
