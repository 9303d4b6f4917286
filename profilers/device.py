"""A Device: what is measured on, and with which settings. Its fingerprint decides which tables may be mixed."""

import os
import platform
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from profilers import backends, runners, shells
from profilers.errors import InvalidInputError, UnknownNameError, shown
from profilers.formats import HSWISH_FORMS, Form

MOST_THREADS, MOST_BATCH = 1024, 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # names become parts of file names


@dataclass(frozen=True, kw_only=True)
class Device:
    """A named place to run models, as `devices.toml` describes it; every field but `name` is a key there."""

    name: str
    connect: str = "local"
    runtime: str = "onnxruntime"
    precision: str = "fp32"
    threads: int = 1
    batch: int = 1
    hswish: str = ""  # fused or split; none given: fused in fp32, split in int8, the faster ones
    clock: str = "wall"  # or cpu, for emulated devices
    cpus: tuple[int, ...] = field(default=())  # pinned to these; none given: the last ones allowed, or all of a board
    runner: str = ""  # what measures at the far end of a connection, see profilers.runners; none given: our own program
    cooldown_s: float = 30.0  # how long a device that got slower by heat is left alone

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInputError(f"{shown(self.name)} is no device name: use letters, digits, '.', '_' and '-'")
        backends.check(self.runtime)
        precisions = backends.load(self.runtime).PRECISIONS
        for kind, value, known in (
            (f"precision of runtime {self.runtime}", self.precision, precisions),
            ("clock", self.clock, backends.CLOCKS),
            ("form of h-swish", self.hswish or "fused", HSWISH_FORMS),
        ):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        if not (1 <= self.threads <= MOST_THREADS and 1 <= self.batch <= MOST_BATCH):
            raise InvalidInputError(
                f"device {self.name!r}: threads and batch are whole numbers from 1 on, up to {MOST_THREADS} and "
                f"{MOST_BATCH}"
            )
        if not 0 <= self.cooldown_s < float("inf"):
            raise InvalidInputError(f"device {self.name!r}: cooldown_s is a number of seconds from 0 on")
        if self.connect != "local":
            shells.open_shell(self.connect)  # connects to nothing; raises for what is no address
            runners.kind_of(self.runner, self.runtime)
        elif self.runner:
            raise InvalidInputError(f"device {self.name!r}: a local device has no runner, its runtime is used directly")

    @property
    def form(self) -> Form:
        """How graphs are spelled in the files that are measured here."""
        return Form(self.precision, self.hswish or ("fused" if self.precision == "fp32" else "split"))

    @property
    def slug(self) -> str:
        """A file name for what is measured with these settings, e.g. `host-onnxruntime-fp32-t1-b1`."""
        form = f"-{self.hswish}" if self.hswish else ""
        return f"{self.name}-{self.runtime}-{self.precision}{form}-t{self.threads}-b{self.batch}"


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Everything that changes what a block costs; times of different fingerprints are never mixed."""

    machine: str
    cores: int
    runtime: str
    runtime_version: str
    precision: str
    threads: int
    batch: int
    cpus: str = ""  # as devices.toml asks for them: big and little cores are different devices
    hswish: str = "fused"
    clock: str = "wall"
    runner: str = ""  # what measures on a device that is not this machine: the same runtime comes in several builds

    def differences(self, other: "Fingerprint") -> list[str]:
        """What tells two fingerprints apart, in words; empty where they are equal."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{key} {mine[key]!r} against {theirs[key]!r}" for key in mine if mine[key] != theirs[key]]


def fingerprint(device: Device) -> Fingerprint:
    """Fingerprint of a local device."""
    return Fingerprint(
        machine=backends.load(device.runtime).machine(),
        cores=os.cpu_count() or 1,
        runtime=device.runtime,
        runtime_version=backends.load(device.runtime).version(),
        precision=device.precision,
        threads=device.threads,
        batch=device.batch,
        cpus=",".join(map(str, device.cpus)),
        hswish=device.form.hswish,
        clock=device.clock,
    )


def cpu_model() -> str:
    """The processor's name and architecture, as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    return described_cpu(text, platform.machine(), platform.processor())


def described_cpu(cpuinfo: str, machine: str, otherwise: str = "") -> str:
    """A processor's name and architecture, from what Linux has in /proc/cpuinfo and `uname -m`.

    ARM's kernels give no name but a number for each kind of core: big and little ones are told apart by these.
    """
    pairs = [line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line]
    named = {key.strip(): value.strip() for key, value in pairs}
    cores = sorted({value.strip() for key, value in pairs if key.strip() == "CPU part"})
    parts = [named.get("model name") or named.get("Model") or named.get("Hardware") or otherwise or "unknown processor"]
    parts += [f"{key} {named[key]}" for key in ("cpu family", "model") if key in named]
    parts += [f"cores {' '.join(cores)}"] if cores else []
    return ", ".join([*parts, machine])
