"""Runners: what measures on a device that is reached through a shell. A device's `runner` says which:

(nothing)                   our own C program over ONNX Runtime, pushed with all it needs: native.py
python3, /path/python3.11   this very code, pushed as one file, where the device has Python and a runtime: python.py
/path/benchmark_model       TFLite's own tool, which the user has put there: tool.py
/path/onnxruntime_perf_test ONNX Runtime's
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from profilers.errors import DeviceError, InvalidInputError
from profilers.shells import Shell

if TYPE_CHECKING:
    from profilers.device import Device
    from profilers.runners.job import Answer, Job

_KINDS = {"": "native", "python": "python", "benchmark_model": "tool", "onnxruntime_perf_test": "tool"}
_RUNTIMES = {"native": ("onnxruntime",), "python": ("onnxruntime", "litert")}
_OF_TOOL = {"benchmark_model": "litert", "onnxruntime_perf_test": "onnxruntime"}
SLOWEST_BYTES_PER_S = 300_000.0  # an old cable still brings more


class Runner(Protocol):
    """What measures: made ready by its module's `install`, which pushes what it needs."""

    version: str
    """Of the runtime on the device."""

    def stretch(self, job: "Job", folder: str) -> Iterator["Answer"]:
        """Do a job whose model files lie in `folder` on the device, yielding its answer at every look at it.

        The last answer has ended or was refused, or says that the runner died and at which model. Raises DeviceError.
        """
        ...


@dataclass(frozen=True)
class Site:
    """A device as a runner's `install` needs it: the shell, `uname -m`, and what shows our lease to be alive."""

    device: "Device"
    shell: Shell
    machine: str
    beat: Callable[[], None]
    tell: Callable[[str], None]

    def push(self, files: Sequence[Path], folder: str) -> None:
        """Copy files into a folder on the device, allowing the time that a slow cable takes."""
        size = sum(path.stat().st_size for path in files)
        self.shell.push(files, folder, 20.0 + size / SLOWEST_BYTES_PER_S)

    def settle(self, files: Sequence[Path], name: str) -> str:
        """Put programs into a folder of their own that stays on the device for the next time; returns its path.

        The last file to arrive says that all are there. `name` holds a hash: other content has another name.
        """
        place = f"{self.shell.folder}/{name}"
        if self.shell.run(["ls", f"{place}/complete"]).code == 0:
            return place
        size = sum(path.stat().st_size for path in files)
        self.tell(f"putting its runner there, once: {size / 1e6:.0f} MB into {place}")
        self.run(["mkdir", "-p", place])
        self.push(files, place)
        self.run(["sh", "-c", 'chmod 755 "$1"/* && : >"$1/complete"', "sh", place])
        return place

    def run(self, command: Sequence[str], timeout_s: float = 20.0) -> str:
        """The output of a command that has to succeed; raises DeviceError with what it said where it does not."""
        done = self.shell.run(command, timeout_s)
        if done.code != 0:
            why = " ".join((done.err.strip() or done.out.strip() or "no reason given").split())
            program = PurePosixPath(command[0]).name
            raise DeviceError(f"{program} ended with code {done.code} on the device: {why[-300:]}")
        return done.out


def kind_of(runner: str, runtime: str) -> str:
    """Which module serves a device's `runner`; raises InvalidInputError where none does so with that runtime."""
    program = PurePosixPath(runner).name
    family = "python" if program.startswith("python") else program
    if family not in _KINDS:
        raise InvalidInputError(
            f"{runner!r} is no runner: give none, python3, or a path of benchmark_model or onnxruntime_perf_test there"
        )
    kind = _KINDS[family]
    served = (_OF_TOOL[family],) if kind == "tool" else _RUNTIMES[kind]
    if runtime not in served:
        named = runner or "our own runner"
        advice = "" if runner else '; for litert give the device runner = "python3" or a path of benchmark_model'
        raise InvalidInputError(f"{named} measures with {' or '.join(served)} and not with {runtime}{advice}")
    return kind


def lacking(device: "Device", shell: Shell, machine: str) -> str:
    """What a device's runner lacks there or here, and what to do; empty where it can be made ready."""
    from profilers.runners import native

    kind = kind_of(device.runner, device.runtime)
    if kind == "native":
        return native.lacking(machine)
    if shell.run(["sh", "-c", 'command -v "$1"', "sh", device.runner]).code != 0:
        return f"there is no {device.runner} on it: put it there, or leave `runner` out"
    return ""


def install(site: Site) -> Runner:
    """The runner that a device asks for, made ready on it; raises DeviceError."""
    from profilers.runners import native, python, tool  # which need this module

    modules = {"native": native, "python": python, "tool": tool}
    runner: Runner = modules[kind_of(site.device.runner, site.device.runtime)].install(site)
    return runner
