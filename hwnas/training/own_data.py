"""Data sets of the user's own: `module:function`, a function(seed, hw) in a Python module, found from where they are.

It may return a `Dataset`, whose batches are checked; or a torch data set of (PIL image or float tensor, label) with
`classes`, of which a tenth becomes the validation and a tenth the test split; or a dictionary of three such data sets
by the names of the splits.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor
from torch.utils.data import Subset

from hwnas.training.class_names import check_class_names
from hwnas.training.datasets import Around, Batch, Dataset, Finite, Split, listing_of, names
from hwnas.training.own_code import reported
from hwnas.training.pictures import SCALING, SPLITS, Pictures, Source, described, pair
from profilers.errors import InvalidInputError, UnknownNameError

HW: Final = 224
JUDGED_SHARE: Final = 0.1  # of the images, for each of validation and test
LEAST_IMAGES: Final = 10


def open_own(name: str, seed: int, hw: int | None) -> Dataset:
    """The data set that the user's function makes.

    Raises InvalidInputError if it makes none, and for whatever the function raises, with the place.
    """
    with reported(name):
        made = _function(name)(seed, hw or HW)
        if isinstance(made, Pictures):
            return made
        if callable(getattr(made, "batch", None)):
            return _checked(name, made)
        return _pictures(name, made, seed, hw or HW)


def _checked(name: str, made: Any) -> Dataset:
    lacking = [fact for fact in ("name", "classes", "scaling", "shape") if not hasattr(made, fact)]
    if lacking:
        raise InvalidInputError(f"{name} gives a {type(made).__name__} with batches, but without {', '.join(lacking)}")
    check_class_names(tuple(map(str, made.classes)), name)
    if len(made.shape) != 3:
        raise InvalidInputError(f"{name} has images of shape {made.shape}: (channels, height, width) is wanted")
    dataset: Dataset = made
    return CheckedFinite(dataset) if isinstance(made, Finite) else Checked(dataset)


def _pictures(name: str, made: Any, seed: int, hw: int) -> Pictures:
    parts = made if isinstance(made, Mapping) else _cut(name, made)
    if set(parts) != set(SPLITS) or not all(_is_source(part) and len(part) for part in parts.values()):
        raise InvalidInputError(
            f"{name} does not give images for each of {', '.join(SPLITS)}: a data set with len() and [number] is wanted"
        )
    classes = tuple(map(str, getattr(made if made is not parts else parts["train"], "classes", ())))
    if not classes:
        raise InvalidInputError(f"{name} does not name its classes: `classes` must hold two or more, each once")
    check_class_names(classes, name)
    first, _ = pair(parts["train"][0], f"{name}: train image 0")
    tensors = isinstance(first, Tensor)
    shape = tuple(first.shape) if tensors else (3, hw, hw)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise InvalidInputError(f"{name} has tensors of shape {shape}: (channels, height, as much width) is wanted")
    scaling = f"as {name} makes them" if tensors else SCALING
    return Pictures(name=name, classes=classes, sources=parts, shape=shape, seed=seed, scaling=scaling)


@dataclass
class Checked(Around):
    """A `Dataset` of the user's own, whose batches are looked at before they are used."""

    @property
    def listing(self) -> str:
        """The digest that the data set itself has, if it has one."""
        return listing_of(self.dataset)

    def batch(self, split: Split, index: int, size: int) -> Batch:
        """Images (size, C, H, W) of finite float32 and labels (size,); raises InvalidInputError for anything else."""
        what = f"{self.name}: {split} batch {index}"
        with reported(what):
            return self._looked_at(self.dataset.batch(split, index, size), size, what)

    def _looked_at(self, found: Any, size: int, what: str) -> Batch:
        images, labels = pair(found, what, "(images, labels)")
        wanted = (size, *self.shape)
        if not isinstance(images, np.ndarray) or images.shape != wanted or images.dtype.kind != "f":
            raise InvalidInputError(f"{what} has images that are {described(images)}: floats of {wanted} are wanted")
        if not np.isfinite(images).all():
            raise InvalidInputError(f"{what} has images with values that are no finite numbers")
        if not isinstance(labels, np.ndarray) or labels.shape != (size,) or labels.dtype.kind not in "iu":
            raise InvalidInputError(f"{what} has labels that are {described(labels)}: whole numbers of ({size},)")
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(self.classes):
            raise InvalidInputError(
                f"{what} has labels outside 0 to {len(self.classes) - 1}, the places of its classes"
            )
        return images.astype(np.float32, copy=False), labels.astype(np.int64, copy=False)


@dataclass
class CheckedFinite(Checked):
    """The same for one that has so many images and no more."""

    def count(self, split: Split) -> int:
        """How many images there are."""
        with reported(f"{self.name}: the number of {split} images"):
            return int(self._finite.count(split))

    def images(self, split: Split, start: int, stop: int) -> Batch:
        """Images number `start` to `stop`."""
        what = f"{self.name}: {split} images {start} to {stop}"
        with reported(what):
            return self._looked_at(self._finite.images(split, start, stop), stop - start, what)

    @property
    def _finite(self) -> Finite:
        assert isinstance(self.dataset, Finite)
        return self.dataset


def _function(name: str) -> Callable[[int, int], Any]:
    module, _, function = name.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise UnknownNameError("data set", name, [*names(), "MODULE:FUNCTION"])
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # it stays: processes that prepare batches import the module, too
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # a module that the user's own one wants
        known = ", ".join(names())
        raise InvalidInputError(
            f"unknown data set {name!r}: there is {known}, and no Python module {module} in {here}"
        ) from error
    made = getattr(found, function, None)
    if not callable(made):
        raise InvalidInputError(f"{name}: the module {found.__file__} has no function {function!r}")
    return made  # type: ignore[no-any-return]  # what it gives is looked at by the caller


def _cut(name: str, whole: Any) -> dict[Split, Source]:
    """Three parts of one source, the same ones every time."""
    if not _is_source(whole):
        raise InvalidInputError(f"{name} gives a {type(whole).__name__}: a data set with len() and [number] is wanted")
    if len(whole) < LEAST_IMAGES:
        raise InvalidInputError(f"{name} has {len(whole)} images: at least {LEAST_IMAGES} are wanted")
    rows = np.random.Generator(np.random.PCG64(len(whole))).permutation(len(whole))
    judged = round(JUDGED_SHARE * len(whole))
    parts = {"test": rows[:judged], "validation": rows[judged : 2 * judged], "train": rows[2 * judged :]}
    return {split: Subset(whole, np.sort(parts[split]).tolist()) for split in SPLITS}


def _is_source(found: Any) -> bool:
    return hasattr(found, "__len__") and hasattr(found, "__getitem__")
