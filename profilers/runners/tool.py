"""A benchmarking tool that the user has put on the device as its runner; one call of it is one visit.

Such tools say what they measured in words for people. Each understood pattern is written down here, and whatever else
a tool says is an error that quotes it: a time that was guessed would be a promise broken later.
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from profilers.errors import DeviceError, LostError
from profilers.measurement import Visit
from profilers.runners import Site
from profilers.runners.job import Answer, Job

CALL_S = 120.0
RUNS = 20  # in one call: the tools cannot be told to stop at a time without running at least once more
UNKNOWN = "unknown"  # neither tool tells its version in a stable way

# "Inference timings in us: Init: 8025, First inference: 1510, Warmup (avg): 1433.2, Inference (avg): 1389.12"
_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
_BENCHMARK_MODEL = re.compile(rf"^.*Inference timings in us: .*\bInference \(avg\): {_NUMBER}\s*$", re.M)
# "P50 Latency: 0.00138912 s"
_PERF_TEST = re.compile(rf"^P50 Latency: {_NUMBER} s\s*$", re.M)


def benchmark_model_ms(said: str) -> float:
    """The mean latency, in ms, that TFLite's benchmark_model told; raises DeviceError, quoting it, if it told none."""
    return _found(_BENCHMARK_MODEL, said, "benchmark_model") / 1000


def perf_test_ms(said: str) -> float:
    """The median latency, in ms, that onnxruntime_perf_test told; raises DeviceError, quoting it, if it told none."""
    return 1000 * _found(_PERF_TEST, said, "onnxruntime_perf_test")


def _found(pattern: re.Pattern[str], said: str, tool: str) -> float:
    found = pattern.findall(said)
    if len(found) != 1 or not 0 < float(found[0]) < math.inf:
        quoted = " ".join(said.split())[-200:] or "nothing"
        raise DeviceError(f"{tool} told no latency that is understood, it said: {quoted}")
    return float(found[0])


def _benchmark_model(threads: int, model: str, warmup: int) -> list[str]:
    return [
        f"--graph={model}", f"--num_threads={threads}", "--use_xnnpack=true", f"--warmup_runs={warmup}",
        "--warmup_min_secs=0", f"--num_runs={RUNS}", "--min_secs=0",
    ]  # fmt: skip


def _perf_test(threads: int, model: str, _: int) -> list[str]:
    """Random input, all optimisations, no spinning; it warms up by one run, whatever one asks for."""
    return ["-I", "-m", "times", "-r", str(RUNS), "-x", str(threads), "-y", "1", "-o", "99", "-D", model]


Arguments = Callable[[int, str, int], list[str]]
_TOOLS: dict[str, tuple[Arguments, Callable[[str], float]]] = {
    "benchmark_model": (_benchmark_model, benchmark_model_ms),
    "onnxruntime_perf_test": (_perf_test, perf_test_ms),
}


def install(site: Site) -> "ToolRunner":
    """The tool on the device; raises DeviceError where it is not there or cannot be started, or cannot do the job."""
    tool = site.device.runner
    if site.device.clock != "wall":
        raise DeviceError(f"{PurePosixPath(tool).name} has no {site.device.clock} clock: use the wall clock")
    if site.shell.run(["sh", "-c", '[ -x "$1" ]', "sh", tool]).code != 0:
        raise DeviceError(f"{tool} is no program on the device: put it there, and make it executable (chmod +x)")
    return ToolRunner(site)


@dataclass
class ToolRunner:
    """Shuffled rounds in which each visit, and each reading of the sentinel, is one call of the tool."""

    site: Site
    version: str = UNKNOWN

    def stretch(self, job: Job, folder: str) -> Iterator[Answer]:
        """Do a job; see Runner. A call that fails fails its model, unless it is the sentinel."""
        answer = Answer(job.token, job.models, begun=True)
        rng = np.random.default_rng(job.seed)
        until = time.monotonic() + job.seconds
        before_ms = self._call(job, folder, job.sentinel)
        order = ((turn, m) for turn in range(job.rounds) for m in rng.permutation(list(job.models)).tolist())
        for turn, number in order:
            if number in answer.failed:
                continue
            self.site.beat()
            try:
                ms = self._call(job, folder, job.models[number])
            except LostError:
                raise
            except DeviceError as error:
                answer.failed[number] = str(error)
                continue
            after_ms = self._call(job, folder, job.sentinel)
            answer.visits.append((turn, number, Visit(ms, max(before_ms, after_ms))))
            before_ms = after_ms
            yield answer
            if time.monotonic() > until:
                break
        answer.ended = True
        yield answer

    def _call(self, job: Job, folder: str, file: str) -> float:
        tool, model = self.site.device.runner, f"{folder}/{PurePosixPath(file).name}"
        arguments, read_ms = _TOOLS[PurePosixPath(tool).name]
        words = [tool, *arguments(job.threads, model, job.plan.warmup_runs)]
        if job.cpus:
            words = ["taskset", f"{sum(1 << cpu for cpu in job.cpus):x}", *words]
        done = self.site.shell.run(words, CALL_S)
        if done.code != 0:
            said = " ".join((done.err or done.out).split())[-200:] or "nothing"
            raise DeviceError(f"{PurePosixPath(tool).name} ended with code {done.code}, it said: {said}")
        return read_ms(done.out + "\n" + done.err)
