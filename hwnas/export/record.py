"""bundle.json: what a bundle was asked for, what its network is and costs, and the digests of its files.

A record is read strictly: a value that hwnas would not have written is refused by its key. Keys that this version does
not know, those of a later one, are kept as they are.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from hwnas.arch import Arch
from hwnas.export.folder import OWN
from profilers.errors import InvalidInputError, shown
from profilers.reading import Fields, read_json

NAME: Final = "bundle.json"
MAX_BYTES: Final = 4 << 20
MAX_MS: Final = 1e15  # no measured time comes near; a budget may
MAX_LIMIT: Final = 1e300
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")

Facts = dict[str, Any]


def encodable(text: str) -> str:
    """A text without the halves of characters that names of files in no known encoding come with."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, kw_only=True)
class BundleRequest:
    """What a bundle was asked for; a bundle may stand in for another one of the same request only."""

    space: str
    resolutions: tuple[int, ...]
    data: str
    limits: Mapping[str, float]  # besides latencies, by the names that `hwnas.search.limits.Limits` has for them
    budget_ms: Mapping[str, float]  # by device
    available: bool = False  # among choices whose blocks had a time, the others left out

    def __post_init__(self) -> None:
        # 9us and 0.009ms are the same, which floats do not know.
        for name in ("limits", "budget_ms"):
            object.__setattr__(self, name, {key: float(f"{n:.15g}") for key, n in getattr(self, name).items()})

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """The request that a record spells; raises InvalidInputError."""
        resolutions = fields.items("resolutions")
        if not all(isinstance(hw, int) and 0 < hw <= MAX_MS for hw in resolutions):
            raise fields.wrong("resolutions", "a list of whole numbers")
        return cls(
            space=fields.text("space"),
            resolutions=tuple(resolutions),
            data=fields.text("data"),
            limits=_limits(fields.record("limits")),
            budget_ms=_limits(fields.record("budget_ms")),
            available="available" in fields and fields.flag("available"),  # earlier versions did not say
        )

    def facts(self) -> Facts:
        """The request under the names that bundle.json has for it."""
        return {**vars(self), "resolutions": list(self.resolutions)}

    def suffix(self, resolutions: tuple[int, ...], data: str) -> str:
        """What tells the bundle's folder from that of the same budget without further limits.

        It is empty if no other limits, sizes, choices or data were asked for than the usual `resolutions` and `data`.
        """
        unusual: Facts = {"limits": self.limits} if self.limits else {}
        unusual |= {"resolutions": self.resolutions} if self.resolutions != resolutions else {}
        unusual |= {"data": self.data} if self.data != data else {}
        unusual |= {"available": True} if self.available else {}
        text = json.dumps(unusual, sort_keys=True)
        return f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}" if unusual else ""


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """What a network takes on one device, predicted and measured, and the budget it keeps there."""

    device: str
    budget_ms: float
    predicted_ms: float
    measured_ms: float
    interval_ms: tuple[float, float]  # 95 %
    raw_ms: float  # interference included
    fingerprint: Mapping[str, str | int | float]
    table_sha256: str
    further: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """What a record says of one device; raises InvalidInputError."""
        interval_ms = fields.numbers("interval_ms")
        if len(interval_ms) != 2 or not 0 <= interval_ms[0] <= interval_ms[1] <= MAX_MS:
            raise fields.wrong("interval_ms", "two times, the smaller first")
        if "budget_use" in fields:
            fields.number("budget_use", 0)
        known: Facts = {
            "device": _matching(fields, "device", _DEVICE, "a device's name"),
            "budget_ms": fields.number("budget_ms", 0, MAX_LIMIT),
            "predicted_ms": fields.number("predicted_ms", -MAX_MS, MAX_MS),
            **{key: fields.number(key, 0, MAX_MS) for key in ("measured_ms", "raw_ms")},
            "interval_ms": (interval_ms[0], interval_ms[1]),
            "fingerprint": _fingerprint(fields.record("fingerprint")),
            "table_sha256": _matching(fields, "table_sha256", _DIGEST, "a SHA-256"),
        }
        return cls(**known, further=_others(fields, known))

    def facts(self) -> Facts:
        """The figures under the names that bundle.json has for them."""
        known = {**vars(self), "interval_ms": list(self.interval_ms)}
        return {**{key: value for key, value in known.items() if key != "further"}, **self.further}


@dataclass(frozen=True, kw_only=True)
class BundleRecord:
    """Everything that bundle.json says."""

    arch: str
    devices: tuple[OnDevice, ...]
    validation_accuracy: float
    accuracy: float  # of the file, on test images
    macs: int
    params: int
    evaluations: int
    max_difference: float
    attempts: int
    supernet_sha256: str
    data: str
    seed: int
    command: str
    hwnas: str
    created: str
    request: BundleRequest | None  # None where an earlier version made the bundle
    files: Mapping[str, str]  # SHA-256 by name
    further: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file; raises InvalidInputError, which names the file and the key that is wrong."""
        return cls.of(Fields.of(read_json(path, MAX_BYTES), str(path)))

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """The record under the names that bundle.json has for it; raises InvalidInputError."""
        first = OnDevice.of(fields)
        several = fields.items("devices") if "devices" in fields else []
        source = f"devices of {fields.source}"
        devices = tuple(OnDevice.of(Fields.of(one, source)) for one in several) or (replace(first, further={}),)
        if (devices[0].device, devices[0].measured_ms) != (first.device, first.measured_ms):
            raise fields.wrong("devices", "a list that begins with the device on top")
        known: Facts = {
            "arch": _arch(fields),
            **{key: fields.number(key, 0, 1) for key in ("validation_accuracy", "accuracy")},
            **{key: fields.integer(key, 0) for key in ("macs", "params", "evaluations", "attempts")},
            "max_difference": fields.number("max_difference", 0),
            "supernet_sha256": _matching(fields, "supernet_sha256", _DIGEST, "a SHA-256"),
            **{key: fields.text(key) for key in ("data", "command", "hwnas")},
            "seed": fields.integer("seed"),
            "created": _time(fields),
            "request": BundleRequest.of(fields.record("request")) if "request" in fields else None,
            "files": _files(fields.record("files")),
        }
        return cls(**known, devices=devices, further=_others(fields, {*known, *vars(first), "devices"}))

    def facts(self) -> Facts:
        """The record under the names that bundle.json and `--json` have for it, the first device's figures on top."""
        several = {"devices": [device.facts() for device in self.devices]} if len(self.devices) > 1 else {}
        own = {key: value for key, value in vars(self).items() if key not in ("devices", "request", "files", "further")}
        top = replace(self.devices[0], further={}).facts()
        origin = {key: top.pop(key) for key in ("fingerprint", "table_sha256")}
        request = {"request": self.request.facts()} if self.request else {}
        figures = {"arch": own.pop("arch"), **top}
        return {**figures, **self.further, **several, **origin, **own, **request, "files": dict(self.files)}

    def content(self) -> bytes:
        """bundle.json."""
        return json.dumps(self.facts(), indent=2, allow_nan=False).encode() + b"\n"


def _others(fields: Fields, known: Collection[str]) -> Facts:
    return {key: value for key, value in fields.values.items() if key not in known}


def _matching(fields: Fields, key: str, pattern: re.Pattern[str], wanted: str) -> str:
    if not pattern.fullmatch(fields.text(key)):
        raise fields.wrong(key, wanted)
    return fields.text(key)


def _limits(fields: Fields) -> dict[str, float]:
    return {key: fields.number(key, 0, MAX_LIMIT) for key in fields.values}


def _fingerprint(fields: Fields) -> dict[str, str | int | float]:
    for key, value in fields.values.items():
        if not isinstance(value, str | int | float):
            raise fields.wrong(key, "a text or a number")
    for key in ("runtime", "precision"):
        fields.text(key)
    for key in ("threads", "batch"):
        fields.integer(key, 1)
    return dict(fields.values)


def _files(fields: Fields) -> dict[str, str]:
    for name in fields.values:
        if not OWN.fullmatch(name) or name == NAME:
            raise InvalidInputError(f"{fields.source} name {shown(name)}, which is no file of a bundle")
        _matching(fields, name, _DIGEST, "a SHA-256")
    if not any(name.startswith("model.") for name in fields.values):
        raise InvalidInputError(f"{fields.source} name no model")
    return dict(fields.values)


def _arch(fields: Fields) -> str:
    text = fields.text("arch")
    try:
        return str(Arch.parse(text))
    except (InvalidInputError, ValueError) as error:  # a number may have too many digits for Python
        raise fields.wrong("arch", "an architecture like digits:48-2-3-6") from error


def _time(fields: Fields) -> str:
    try:
        datetime.datetime.fromisoformat(fields.text("created"))
    except ValueError as error:
        raise fields.wrong("created", "a time like 2026-01-31T12:00:00+00:00") from error
    return fields.text("created")
