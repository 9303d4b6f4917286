"""Data sets: one file each, with `build(seed, hw, place) -> Dataset`. The file's name is the data set's.

A file also says in `FACTS` what its images are. One that can be fetched has `download(place)`.

A name may say where the images are, behind a colon: `imagefolder:photos`. Behind the name of a Python module it is a
function of the user's own: `mydata:make`.
"""

import sys
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from profilers import plugins
from profilers.errors import InvalidInputError, UnknownNameError, nearest

Split = Literal["train", "validation", "test"]
Batch = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Images (B, C, H, W) and labels (B,)."""


class Dataset(Protocol):
    """Labelled images in three splits that share nothing."""

    name: str
    classes: tuple[str, ...]
    scaling: str  # what the values of an image are, for those who feed the exported model

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        ...

    def batch(self, split: Split, index: int, size: int) -> Batch:
        """Batch number `index`: a pure function of the data set's seed and the arguments, on every machine."""
        ...


@runtime_checkable
class Finite(Protocol):
    """A data set that has so many images and no more: batches behind the last one show them again."""

    def count(self, split: Split) -> int:
        """How many images there are."""
        ...

    def images(self, split: Split, start: int, stop: int) -> Batch:
        """Images number `start` to `stop`; a batch of B is those from index * B on."""
        ...


def listing_of(dataset: Dataset) -> str:
    """A digest of what a data set consists of (names and sizes of files, say), "" where that is not known."""
    return str(getattr(dataset, "listing", ""))


@dataclass
class Around:
    """What a `Dataset` that stands around another one has from that: all but its batches."""

    dataset: Dataset
    name: str = field(init=False)
    classes: tuple[str, ...] = field(init=False)
    scaling: str = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.classes, self.scaling = self.dataset.name, self.dataset.classes, self.dataset.scaling

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.dataset.shape


@dataclass(frozen=True)
class Facts:
    """What a data set's file says of its images, for lists of data sets; nothing of them is read for that."""

    spelling: str  # what --data takes, places in capitals
    channels: int
    hw: int  # height and width where none is asked for
    classes: int | None  # None: as many as the images have


@dataclass(frozen=True)
class DatasetInfo:
    """What a list of data sets says of one."""

    name: str
    summary: str  # one line
    facts: Facts
    downloadable: bool


def names() -> tuple[str, ...]:
    """The data sets there are."""
    return plugins.names(__name__)


def listing() -> tuple[DatasetInfo, ...]:
    """Every data set with what its images are, sorted by name; nothing of them is read."""
    return tuple(_info(name) for name in names())


def _info(name: str) -> DatasetInfo:
    module, summary = plugins.load(__name__, "data set", name), plugins.summary(__name__, "data set", name)
    return DatasetInfo(name, summary, module.FACTS, hasattr(module, "download"))


def check_name(name: str) -> None:
    """Raise InvalidInputError for what cannot be the name of a data set, at once: nothing is read or imported."""
    kind, colon, place = name.partition(":")
    if kind in names():
        if kind == "imagefolder" and not Path(place).is_dir():
            raise InvalidInputError(
                f"{place or name} is no folder: {name} wants train/CLASS/*.jpg or CLASS/*.jpg in it"
            )
        return
    if not colon or not all(part.isidentifier() for part in kind.split(".")):
        is_folder = Path(name).is_dir() or kind in ("folder", "images", "imagenet")
        raise UnknownNameError("data set", name, names(), f"imagefolder:{place or name}" if is_folder else "")
    if not PathFinder.find_spec(kind.partition(".")[0], [str(Path.cwd()), *sys.path]):
        known, meant = ", ".join(names()), nearest(kind, names())
        if kind in ("folder", "images", "imagenet"):
            meant = "imagefolder"
        hint = f"; did you mean {meant}:{place}?" if meant else ""
        raise InvalidInputError(
            f"unknown data set {name!r}: there is {known}, and no Python module {kind} in {Path.cwd()}{hint}"
        )


def canonical(name: str) -> str:
    """The one name of a data set, however its path was typed: `imagefolder:photos` as `imagefolder:/home/me/photos`.

    Links are followed. Names without a path, and functions of Python modules, are their own.
    """
    kind, _, place = name.partition(":")
    if not place or kind not in names():
        return name
    try:
        return f"{kind}:{Path(place).expanduser().resolve()}"
    except (OSError, RuntimeError, ValueError):  # no such user, links in a circle, a character that no path has
        return name


def open_dataset(name: str, seed: int = 0, hw: int | None = None) -> Dataset:
    """The data set `name` with images of `hw` x `hw` pixels, or of its own size.

    Raises UnknownNameError, and InvalidInputError if it is not where the name says, or cannot be used.
    """
    kind, colon, place = canonical(name).partition(":")
    if colon and kind not in names():
        from hwnas.training.own_data import open_own

        return open_own(name, seed, hw)
    dataset: Dataset = plugins.load(__name__, "data set", kind).build(seed, hw, place)
    return dataset


def download(name: str) -> None:
    """Fetch a data set to the place that its name says; one that is there already is left as it is.

    Raises InvalidInputError if it cannot be downloaded.
    """
    kind, _, place = name.partition(":")
    if kind not in names():
        raise UnknownNameError("data set", kind, names())
    module = plugins.load(__name__, "data set", kind)
    if not hasattr(module, "download"):
        known = ", ".join(info.name for info in listing() if info.downloadable)
        raise InvalidInputError(f"{kind} cannot be downloaded: there is {known}; leave out --download")
    module.download(place)
