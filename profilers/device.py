"""A Device: what is measured on, and with which settings. Its fingerprint decides which tables may be mixed."""

import os
import platform
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import platformdirs

from profilers import backends
from profilers.errors import InvalidInputError, UnknownNameError
from profilers.formats import HSWISH_FORMS, Form

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
    cpus: tuple[int, ...] = field(default=())  # pinned to these; none given: the last ones allowed

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInputError(f"{self.name!r} is no device name: use letters, digits, '.', '_' and '-'")
        if self.runtime not in backends.names():
            raise UnknownNameError("runtime", self.runtime, backends.names())
        precisions = backends.load(self.runtime).PRECISIONS
        for kind, value, known in (
            (f"precision of runtime {self.runtime}", self.precision, precisions),
            ("clock", self.clock, backends.CLOCKS),
            ("form of h-swish", self.hswish or "fused", HSWISH_FORMS),
        ):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        if self.connect != "local":
            raise UnknownNameError("connection", self.connect, ["local"])
        if min(self.threads, self.batch) < 1:
            raise InvalidInputError(f"device {self.name!r}: threads and batch are whole numbers from 1 on")

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
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts.items()}
    parts = [named.get("model name") or platform.processor() or "unknown processor"]
    parts += [f"{key} {named[key]}" for key in ("cpu family", "model") if key in named]
    return ", ".join([*parts, platform.machine()])


def device_files(workspace: Path) -> list[Path]:
    """Where `devices.toml` is looked for; the workspace's goes before the user's."""
    return [platformdirs.user_config_path("hwnas") / "devices.toml", workspace / "devices.toml"]


def configured_devices(workspace: Path) -> dict[str, Device]:
    """Devices by name: `host` (this machine), then what the `devices.toml` files add or override."""
    devices = {"host": Device(name="host")}
    for path in device_files(workspace):
        devices |= _read(path)
    return devices


def find_device(name: str, workspace: Path, runtime: str | None = None, precision: str | None = None) -> Device:
    """The device `name`, with another runtime or precision if asked for; raises UnknownNameError with what there is."""
    devices = configured_devices(workspace)
    if name not in devices:
        raise UnknownNameError("device", name, devices)
    found = devices[name]
    return replace(found, runtime=runtime or found.runtime, precision=precision or found.precision)


def _read(path: Path) -> dict[str, Device]:
    try:
        sections = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    return {name: _device(name, section, path) for name, section in sections.items()}


def _device(name: str, section: object, path: Path) -> Device:
    kinds = {f.name: type(f.default) if f.name != "cpus" else list for f in fields(Device) if f.name != "name"}
    if not isinstance(section, Mapping):
        raise InvalidInputError(f"{path}: {name!r} must be a section [{name}] with keys {', '.join(kinds)}")
    for key, value in section.items():
        if key not in kinds:
            raise InvalidInputError(f"{path}: [{name}] has an unknown key {key!r}; keys are {', '.join(kinds)}")
        if type(value) is not kinds[key]:
            raise InvalidInputError(f"{path}: [{name}] {key} must be of type {kinds[key].__name__}")
    if not all(type(cpu) is int and cpu >= 0 for cpu in section.get("cpus", ())):
        raise InvalidInputError(f"{path}: [{name}] cpus must be whole numbers from 0 on")
    settings = dict(section)
    try:
        return Device(name=name, **(settings | {"cpus": tuple(settings.get("cpus", ()))}))
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: [{name}] {error}") from error
