"""What supernet files say of themselves, read without torch: a space, its resolutions and classes, and the data.

A safetensors file begins with the length of a JSON record, in eight bytes, and that record; ours is in its metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 10_000_000  # of the record; a supernet of a thousand tensors has a fiftieth of that


@dataclass(frozen=True)
class SupernetHeader:
    """What one supernet file is of; `data` is "" where nobody knows what imported weights were trained on."""

    path: Path
    space: str
    resolutions: tuple[int, ...]
    classes: int
    data: str


def supernet_headers(folder: Path) -> list[SupernetHeader]:
    """Of all supernets in the folders below `folder`; files that cannot be read are left to those who need them."""
    found = []
    for path in sorted(folder.glob("*/supernet.safetensors")):
        facts = safetensors_header(path)
        try:
            sizes = tuple(int(hw) for hw in facts["resolutions"])
            found.append(SupernetHeader(path, str(facts["space"]), sizes, int(facts["classes"]), str(facts["data"])))
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return found


def safetensors_header(path: Path) -> Mapping[str, Any]:
    """The record that we wrote into a safetensors file; empty for what is no such file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MOST_BYTES:
                return {}
            facts = json.loads(json.loads(file.read(length))["__metadata__"]["hwnas"])
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
