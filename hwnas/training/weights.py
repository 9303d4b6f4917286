"""Supernets on disk: safetensors with a JSON header that says which space and data they are of. No pickle."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from lut.storage import write_atomically
from profilers.errors import InvalidInputError


@dataclass(frozen=True)
class TrainedSupernet:
    """A supernet in eval mode, where it came from, and what it was trained on."""

    net: Supernet
    path: Path
    data: str
    plan: dict[str, Any]  # the settings it was trained with
    sha256: str

    @property
    def seed(self) -> int:
        """The seed that the data were drawn with."""
        return int(self.plan["seed"])


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name and the JSON header of a safetensors file of ours; raises InvalidInputError."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
            header = json.loads((file.metadata() or {})["hwnas"])
            if not isinstance(header, dict):
                raise ValueError("its header is no record")
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path} is not there") from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InvalidInputError(f"{path} holds no weights that can be read: damaged or foreign ({error})") from error
    return tensors, header


def save_supernet(net: Supernet, path: Path, *, data: str, plan: dict[str, Any]) -> None:
    """Write a trained supernet to `path`, atomically."""
    space = net.space
    header = {
        "space": space.name,
        "resolutions": list(space.resolutions),
        "classes": space.classes,
        "data": data,
        "plan": plan,
    }
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    write_atomically(path, save(tensors, {"hwnas": json.dumps(header)}))


def load_supernet(path: Path) -> TrainedSupernet:
    """Read the supernet that `save_supernet` wrote; raises InvalidInputError."""
    tensors, header = read_tensors(path)
    try:
        space = open_space(header["space"], resolutions=tuple(header["resolutions"]), classes=int(header["classes"]))
        net = Supernet(space)
        net.load_state_dict(tensors)
        data, plan = str(header["data"]), dict(header["plan"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"{path} does not fit its own header: {str(error).splitlines()[0]}") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TrainedSupernet(net.eval(), path, data, plan, digest)
