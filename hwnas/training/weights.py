"""Supernets on disk: safetensors with a JSON header that says which space and data they are of. No pickle."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from hwnas.training.class_names import listed
from hwnas.training.datasets import Dataset, listing_of, open_dataset
from lut.storage import write_atomically
from profilers.errors import InvalidInputError, first_line
from profilers.reading import Fields, parse_json


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
        self.compare(dataset)
        return dataset

    def compare(self, dataset: Dataset) -> None:
        """Refuse, by InvalidInputError, other classes than it was trained on, and warn of other images."""
        compare_data(self.path, self.class_names, self.listing, dataset)


def data_facts(dataset: Dataset) -> dict[str, Any]:
    """What the header of a file of weights says of the data set that they are trained on, besides its name."""
    return {"class_names": list(dataset.classes), "listing": listing_of(dataset)}


def compare_data(path: Path, class_names: tuple[str, ...], listing: str, dataset: Dataset) -> None:
    """Raise InvalidInputError where a data set has other classes than the weights in a file were trained on.

    `class_names` and `listing` are what the file's header says, empty if nothing. Warns of other images.
    """
    if class_names and tuple(dataset.classes) != class_names:
        now = [name for name in dataset.classes if name not in class_names]
        then = [name for name in class_names if name not in dataset.classes]
        changed = "the same in another order"
        if now or then:
            changed = f"{listed(now) or 'none'} instead of {listed(then) or 'none'}"
        raise InvalidInputError(
            f"{dataset.name} has other classes than {path} was trained on: {changed}; rename them as they were, or "
            "train with --restart"
        )
    if listing and listing != listing_of(dataset):
        warnings.warn(
            f"the files of {dataset.name} have changed since {path} was trained; accuracies found before are of the "
            "images as they were",
            DataChangedWarning,
            stacklevel=4,
        )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name and the JSON header of a safetensors file of ours; raises InvalidInputError."""
    return _parsed(path, _content(path))


def _content(path: Path) -> bytes:
    """What a file holds, read once: another process may replace it meanwhile."""
    if not path.exists():
        raise InvalidInputError(f"{path} is not there")
    try:
        if not path.is_file():  # a pipe would be waited for
            raise InvalidInputError(f"{path} is no file")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error


def _parsed(path: Path, content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        text = json.loads(content[8 : 8 + size])["__metadata__"]["hwnas"]
        header = parse_json(text, f"the header of {path}")
        if not isinstance(header, dict):
            raise ValueError("its header is no record")
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"{path} holds no weights that can be read: damaged or foreign ({error})") from error
    return tensors, header


def unusable(tensors: Mapping[str, Tensor]) -> str:
    """What is wrong with the first of a net's tensors that holds no weights or statistics; "" if all do."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            return f"{name} holds {str(tensor.dtype).removeprefix('torch.')} instead of floating-point numbers"
        values = tensor.float()
        if not bool(values.isfinite().all()):
            return f"{name} holds values that are no finite numbers"
        if name.endswith(".var") and bool((values < 0).any()):
            return f"{name} holds variances below 0"
    return ""


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

    `dataset` is what it was trained on, and `data` its name as the user gave it. Raises InvalidInputError for weights
    that are no finite numbers, too.
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
        **(data_facts(dataset) if dataset else {}),
    }
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    if wrong := unusable(tensors):
        raise InvalidInputError(f"{path} is not written: {wrong}; what it held before is intact")
    write_atomically(path, save(tensors, {"hwnas": json.dumps(header)}))


def load_supernet(path: Path) -> TrainedSupernet:
    """Read the supernet that `save_supernet` wrote; raises InvalidInputError."""
    content = _content(path)
    tensors, header = _parsed(path, content)
    fields = Fields(header, f"the header of {path}")
    space = _space(fields, tensors)
    if wrong := unusable(tensors):
        raise InvalidInputError(f"{path} holds no trained net: {wrong}")
    net = Supernet(space)
    try:
        net.load_state_dict(tensors)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"{path} does not fit its own header: {first_line(error)}") from error
    plan = fields.record("plan")
    for name, least in (("seed", 0), ("steps", 1)):
        if name in plan:
            plan.integer(name, least)
    origin = fields.record("origin") if "origin" in fields else Fields({}, "")
    return TrainedSupernet(
        net.eval(),
        path,
        fields.text("data"),
        dict(plan.values),
        {name: origin.text(name) for name in origin.values},
        hashlib.sha256(content).hexdigest(),
        [_part(part, fields.source) for part in (fields.items("parts") if "parts" in fields else ())],
        _class_names(fields, space),
        fields.text("listing") if "listing" in fields else "",
    )


def _class_names(fields: Fields, space: SearchSpace) -> tuple[str, ...]:
    """The names of classes in a header; none in one of weights whose data nobody knows."""
    names = fields.items("class_names") if "class_names" in fields else []
    if any(not isinstance(name, str) for name in names) or len(names) not in (0, space.classes):
        raise fields.wrong("class_names", f"the names of {space.classes} classes")
    return tuple(names)


def _space(fields: Fields, tensors: Mapping[str, Tensor]) -> SearchSpace:
    """The space that a header names, once it is known to be no larger than the file's tensors."""
    resolutions = fields.numbers("resolutions")
    if not resolutions or any(not hw.is_integer() for hw in resolutions):
        raise fields.wrong("resolutions", "a list of whole numbers")
    classes = fields.integer("classes", 1)
    if not any(tensor.shape[:1] == (classes,) for tensor in tensors.values()):
        raise InvalidInputError(f"{fields.source} tells of {classes} classes, for which it has no weights")
    return open_space(fields.text("space"), resolutions=tuple(map(int, resolutions)), classes=classes)


def _part(facts: Any, source: str) -> dict[str, Any]:
    part = Fields.of(facts, f"parts of {source}")
    return {
        "steps": part.integer("steps", 1), "time_s": part.number("time_s", 0), "supernet": part.text("supernet")
    }  # fmt: skip


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
