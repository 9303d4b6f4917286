"""Supernets on disk: safetensors with a JSON header that says which space and data they are of. No pickle."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from hwnas.training.class_names import listed
from hwnas.training.datasets import Dataset, listing_of, open_dataset
from lut.storage import write_atomically
from profilers.errors import InvalidInputError, first_line


class DataChangedWarning(UserWarning):
    """A data set's files are not those that a supernet was trained on."""


IMPORTED = "imported"  # stands in a workspace where the data set would, if a supernet was not trained here


@dataclass(frozen=True)
class TrainedSupernet:
    """A supernet in eval mode, where it came from, and what it was trained on."""

    net: Supernet
    path: Path
    data: str  # "" where that is not known: imported weights do not say
    plan: dict[str, Any]  # the settings it was trained with; none if it was imported
    origin: dict[str, str]  # `file` and `sha256` of what it was imported from; none if it was trained here
    sha256: str
    parts: list[dict[str, Any]] = field(default_factory=list)  # steps, time and beginning of each of several trainings
    class_names: tuple[str, ...] = ()  # of what it was trained on, in the order of its logits; none if not known
    listing: str = ""  # the digest of the data set's listing then; "" if not known

    @property
    def seed(self) -> int:
        """The seed that the data were drawn with."""
        return int(self.plan.get("seed", 0))

    def dataset(self, asked: str) -> Dataset:
        """The data set it was trained on, or for imported weights the one `asked` for, which may be "".

        Raises InvalidInputError if none is known, or if its images or classes are not those of the supernet. Warns if
        its files are others than they were.
        """
        if not (self.data or asked):
            raise InvalidInputError(
                f"{self.path} was imported from {self.origin.get('file')}, which does not say what it was trained on: "
                "give --data"
            )
        space = self.net.space
        hw = space.resolutions[-1]
        dataset = open_dataset(self.data or asked, self.seed, hw)
        if dataset.shape != (space.image_chs, hw, hw) or len(dataset.classes) != space.classes:
            raise InvalidInputError(
                f"{dataset.name} has images of {'x'.join(map(str, dataset.shape))} and {len(dataset.classes)} classes; "
                f"{self.path} takes {space.image_chs}x{hw}x{hw} and tells {space.classes} apart: choose another --data"
            )
        self._compare(dataset)
        return dataset

    def _compare(self, dataset: Dataset) -> None:
        """Refuse other classes than it was trained on, and tell of other images."""
        if self.class_names and tuple(dataset.classes) != self.class_names:
            now = [name for name in dataset.classes if name not in self.class_names]
            then = [name for name in self.class_names if name not in dataset.classes]
            changed = f"{listed(now)} instead of {listed(then)}" if now else "the same in another order"
            raise InvalidInputError(
                f"{dataset.name} has other classes than {self.path} was trained on: {changed}; rename them as they "
                "were, or train with --restart"
            )
        if self.listing and self.listing != listing_of(dataset):
            warnings.warn(
                f"the files of {dataset.name} have changed since {self.path} was trained; accuracies found "
                "before are of the images as they were",
                DataChangedWarning,
                stacklevel=4,
            )


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


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file of ours, {} if there is no such file; raises InvalidInputError."""
    return read_tensors(path)[1] if path.exists() else {}


def save_supernet(
    net: Supernet,
    path: Path,
    *,
    data: str,
    plan: dict[str, Any],
    origin: Mapping[str, str] | None = None,
    parts: Sequence[Mapping[str, Any]] = (),
    dataset: Dataset | None = None,
) -> None:
    """Write a supernet to `path`, atomically: trained by `plan`, in several `parts` perhaps, or with an `origin`.

    `dataset` is what it was trained on, and `data` its name as the user gave it.
    """
    space = net.space
    header = {
        "space": space.name,
        "resolutions": list(space.resolutions),
        "classes": space.classes,
        "data": data,
        "plan": plan,
        **({"origin": dict(origin)} if origin else {}),
        **({"parts": [dict(part) for part in parts]} if parts else {}),
        **({"class_names": list(dataset.classes), "listing": listing_of(dataset)} if dataset else {}),
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
        data, plan, origin = str(header["data"]), dict(header["plan"]), dict(header.get("origin", {}))
        parts = [dict(part) for part in header.get("parts", [])]
        class_names, listing = tuple(map(str, header.get("class_names", ()))), str(header.get("listing", ""))
        if class_names and len(class_names) != space.classes:
            raise ValueError(f"it names {len(class_names)} classes")
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"{path} does not fit its own header: {first_line(error)}") from error
    return TrainedSupernet(net.eval(), path, data, plan, origin, digest_of(path), parts, class_names, listing)


def shipped_supernet(space: SearchSpace, data: str) -> Path | None:
    """The trained supernet that comes with hwnas for a space and a data set, if there is one."""
    path = Path(__file__).parents[1] / "supernets" / f"{space.name}-{data}.safetensors"
    if not path.exists():
        return None
    header = read_tensors(path)[1]
    return path if header["resolutions"] == list(space.resolutions) else None


def shipped_evaluations(supernet: Path) -> Path:
    """What was judged of a supernet that comes with hwnas: the log of evaluations that comes with it."""
    return supernet.with_suffix(".evaluations.jsonl")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
