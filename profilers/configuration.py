"""The devices there are: `host`, and what `devices.toml` files describe, one section a device."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import filelock
import platformdirs

from profilers.device import Device
from profilers.errors import SHOWN_CHARS, InvalidInputError, UnknownNameError, shown
from profilers.reading import MAX_TOML_BYTES, parse_toml, read_bytes
from profilers.writing import reported, write_atomically

LOCK_WAIT_S = 30.0


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


def add_device(device: Device, path: Path) -> None:
    """Append a section for `device` to a `devices.toml`, leaving what is there as it is, comments and all.

    Raises InvalidInputError where the file is damaged or has a section of that name already.
    """
    try:
        section = _section(device).encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{path} cannot be written: there is no such character as {error.object[error.start]!r}"
        ) from error
    with _held(path):
        there = _content(path)
        if device.name in _parsed(there, path):
            raise InvalidInputError(
                f"{path} has a device {device.name!r} already: choose another name, or edit the file"
            )
        write_atomically(path, there + b"\n\n" + section if there else section)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep other processes from adding to a `devices.toml` meanwhile."""
    target = Path(os.path.realpath(path))
    with reported(path):
        target.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    try:
        held = lock.acquire(timeout=LOCK_WAIT_S)
    except filelock.Timeout as error:
        raise InvalidInputError(f"{path} is being written by another hwnas process: try again") from error
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    with held:
        yield


def _section(device: Device) -> str:
    plain = Device(name=device.name)
    settings = {f.name: getattr(device, f.name) for f in fields(Device) if f.name != "name"}
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items() if value != getattr(plain, key)]
    return "\n".join([f"[{_toml(device.name)}]", *lines, ""])


def _toml(value: object) -> str:
    # Strings, numbers and lists of numbers are spelled alike in JSON and TOML, but that DEL is escaped in TOML.
    spelled: str = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return spelled.replace("\x7f", "\\u007f")


def _read(path: Path) -> dict[str, Device]:
    return _parsed(_content(path), path)


def _content(path: Path) -> bytes:
    """What is in a `devices.toml`; nothing, if there is none."""
    try:
        return read_bytes(path, MAX_TOML_BYTES)
    except InvalidInputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return b""
        raise


def _parsed(content: bytes, path: Path) -> dict[str, Device]:
    return {name: _device(name, section, path) for name, section in parse_toml(content, str(path)).items()}


def _device(name: str, section: object, path: Path) -> Device:
    kinds = {f.name: type(f.default) if f.name != "cpus" else list for f in fields(Device) if f.name != "name"}
    here = f"[{name}]" if name.isprintable() and len(name) < SHOWN_CHARS else f"section {shown(name)}"
    if not isinstance(section, Mapping):
        raise InvalidInputError(f"{path}: {shown(name)} must be a section {here} with keys {', '.join(kinds)}")
    for key, value in section.items():
        if key not in kinds:
            raise InvalidInputError(f"{path}: {here} has an unknown key {shown(key)}; keys are {', '.join(kinds)}")
        if type(value) is not kinds[key] and not (kinds[key] is float and type(value) is int):
            raise InvalidInputError(f"{path}: {here} {key} must be of type {kinds[key].__name__}")
    if not all(type(cpu) is int and cpu >= 0 for cpu in section.get("cpus", ())):
        raise InvalidInputError(f"{path}: {here} cpus must be whole numbers from 0 on")
    settings = dict(section)
    try:
        return Device(name=name, **(settings | {"cpus": tuple(settings.get("cpus", ()))}))
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {here} {error}") from error
