"""Data sets of the user's own: `module:function`, a function(seed, hw) in a Python module, found from where they are.

It may return a `Dataset`; or a torch data set of (PIL image or float tensor, label) with `classes`, of which a tenth
becomes the validation and a tenth the test split; or a dictionary of three such data sets by the names of the splits.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor
from torch.utils.data import Subset

from hwnas.training.datasets import Dataset, Split, names
from hwnas.training.pictures import SCALING, SPLITS, Pictures, Source
from profilers.errors import InvalidInputError, UnknownNameError

HW: Final = 224
JUDGED_SHARE: Final = 0.1  # of the images, for each of validation and test
LEAST_IMAGES: Final = 10


def open_own(name: str, seed: int, hw: int | None) -> Dataset:
    """The data set that the user's function makes; raises InvalidInputError if it makes none.

    What the function itself raises comes through as it is: its author wants to see where.
    """
    made = _function(name)(seed, hw or HW)
    if callable(getattr(made, "batch", None)):
        dataset: Dataset = made
        return dataset
    parts = made if isinstance(made, Mapping) else _cut(name, made)
    if set(parts) != set(SPLITS) or not all(_is_source(part) and len(part) for part in parts.values()):
        raise InvalidInputError(
            f"{name} does not give images for each of {', '.join(SPLITS)}: a data set with len() and [number] is wanted"
        )
    classes = tuple(map(str, getattr(made if made is not parts else parts["train"], "classes", ())))
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InvalidInputError(f"{name} does not name its classes: `classes` must hold two or more, each once")
    first, _ = parts["train"][0]
    tensors = isinstance(first, Tensor)
    shape = tuple(first.shape) if tensors else (3, hw or HW, hw or HW)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise InvalidInputError(f"{name} has tensors of shape {shape}: (channels, height, as much width) is wanted")
    scaling = f"as {name} makes them" if tensors else SCALING
    return Pictures(name=name, classes=classes, sources=parts, shape=shape, seed=seed, scaling=scaling)


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
