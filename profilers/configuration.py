"""The devices there are: `host`, and what `devices.toml` files describe, one section a device."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import platformdirs

from profilers.device import Device
from profilers.errors import InvalidInputError, UnknownNameError


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
    if device.name in _read(path):
        raise InvalidInputError(f"{path} has a device {device.name!r} already: choose another name, or edit the file")
    plain = Device(name=device.name)
    settings = {f.name: getattr(device, f.name) for f in fields(Device) if f.name != "name"}
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items() if value != getattr(plain, key)]
    try:
        section = "\n".join([f"[{_toml(device.name)}]", *lines, ""]).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(b"\n\n" + section if file.tell() else section)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{path} cannot be written: there is no such character as {error.object[error.start]!r}"
        ) from error


def _toml(value: object) -> str:
    # Strings, numbers and lists of numbers are spelled alike in JSON and TOML, but that DEL is escaped in TOML.
    spelled: str = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return spelled.replace("\x7f", "\\u007f")


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
        if type(value) is not kinds[key] and not (kinds[key] is float and type(value) is int):
            raise InvalidInputError(f"{path}: [{name}] {key} must be of type {kinds[key].__name__}")
    if not all(type(cpu) is int and cpu >= 0 for cpu in section.get("cpus", ())):
        raise InvalidInputError(f"{path}: [{name}] cpus must be whole numbers from 0 on")
    settings = dict(section)
    try:
        return Device(name=name, **(settings | {"cpus": tuple(settings.get("cpus", ()))}))
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: [{name}] {error}") from error
