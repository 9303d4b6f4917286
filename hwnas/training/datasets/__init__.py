"""Data sets: one file each, with `build(seed) -> Dataset`. The file's name is the data set's."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from profilers import plugins

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


def names() -> tuple[str, ...]:
    """The data sets there are."""
    return plugins.names(__name__)


def open_dataset(name: str, seed: int = 0) -> Dataset:
    """The data set `name`; raises UnknownNameError."""
    dataset: Dataset = plugins.load(__name__, "data set", name).build(seed)
    return dataset
