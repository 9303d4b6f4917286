"""Pictures: labelled images of people's own as a Dataset, decoded, augmented and scaled, the same way every time.

Image number n of a split is a pure function of (seed, split, n), so a batch is, too, and batches can be made in any
order, by any number of processes, each its share.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwnas.training.datasets import Batch, Split
from hwnas.training.image_scan import MODES
from hwnas.training.own_code import reported
from hwnas.training.picture_form import PictureForm
from hwnas.training.torchvision import transforms
from profilers.errors import InvalidInputError, shown

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as published nets take them
SCALING: Final = f"(RGB / 255 - {MEAN}) / {STD}, channel by channel"
CROP_SHARE: Final = 0.875  # of an image's shorter side that is looked at (as in 224 of 256)
PADDING: Final = 1 / 8  # of the side, around small images before they are cropped (He et al. 2016, section 4.2)


class Source(Protocol):
    """Labelled images by their number, each a PIL image or a tensor."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]:
        """An image and its label."""
        ...


@dataclass
class Pictures:
    """A `Dataset` of three sources. PIL images are augmented and scaled here; tensors are taken as they are."""

    name: str
    classes: tuple[str, ...]
    sources: Mapping[Split, Source] = field(repr=False)
    shape: tuple[int, int, int]
    seed: int = 0
    small: bool = False  # little around the object: crops are of the padded image, judged is all of it
    randaugment: bool = False
    scaling: str = SCALING
    listing: str = ""  # a digest of what the data set consists of, where that is known without reading all of it

    def randaugmented(self) -> Self:
        """The same data set, its training images changed by RandAugment, too (Cubuk et al. 2020)."""
        return replace(self, randaugment=True)

    @property
    def picture_form(self) -> PictureForm | None:
        """How a picture is prepared where it is judged; None where images come as tensors, as their maker made them."""
        if self.scaling != SCALING:
            return None
        return PictureForm(_judged_side(self.shape[1], self.small), 255, MEAN, STD)

    def count(self, split: Split) -> int:
        """How many images a split has."""
        return len(self.sources[split])

    def batch(self, split: Split, index: int, size: int) -> Batch:
        """Images (size, C, H, W) and labels (size,); raises InvalidInputError naming an image that cannot be used."""
        return self.images(split, index * size, (index + 1) * size)

    def images(self, split: Split, start: int, stop: int) -> Batch:
        """Images number `start` to `stop`; behind the last one of the split they begin again, in another order."""
        images = np.empty((stop - start, *self.shape), np.float32)
        labels = np.empty(stop - start, np.int64)
        for place, number in enumerate(range(start, stop)):
            images[place], labels[place] = self._image(split, number)
        return images, labels

    def _image(self, split: Split, position: int) -> tuple[NDArray[np.float32], int]:
        source = self.sources[split]
        around, place = divmod(position, len(source))
        # What is judged must not depend on the seed that the training was drawn with.
        seed = self.seed if split == "train" else 0
        index = int(_order(len(source), seed, SPLITS.index(split), around)[place])
        # Transforms and data sets of the user's own draw from torch's one generator, which belongs to the caller.
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(_seed_of(seed, SPLITS.index(split), position))
        try:
            with reported(where := f"{self.name}: {image_name(source, split, index)}"):
                found, label = pair(source[index], where)
                number = class_number(label, len(self.classes), where)
                image = self._taken(found, where) if isinstance(found, Tensor) else self._made(found, split, where)
        finally:
            torch.set_rng_state(state)
        return image, number

    def _made(self, image: Any, split: Split, where: str) -> NDArray[np.float32]:
        """A PIL image as (3, H, W)."""
        hw = self.shape[1]
        if not hasattr(image, "mode"):
            raise InvalidInputError(f"{where} is a {type(image).__name__}: a PIL image or a tensor is wanted")
        if image.mode not in MODES:
            raise InvalidInputError(f"{where} has pixels of mode {image.mode}: convert it to 8 bits a channel")
        train = split == "train"
        change = _augmenting(hw, self.small, self.randaugment) if train else _judging(hw, self.small)
        pixels = np.asarray(change(as_colour(image)), np.float64)  # (H, W, 3)
        return ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)

    def _taken(self, image: Tensor, where: str) -> NDArray[np.float32]:
        """A tensor, as its maker scaled it."""
        if tuple(image.shape) != self.shape or not image.is_floating_point():
            wanted = "x".join(map(str, self.shape))
            raise InvalidInputError(
                f"{where} is a {image.dtype} tensor of {'x'.join(map(str, image.shape))}: one of floats of {wanted} is "
                "wanted"
            )
        if not bool(image.isfinite().all()):
            raise InvalidInputError(f"{where} has values that are no finite numbers")
        found: NDArray[np.float32] = image.detach().cpu().float().numpy()
        return found


def pair(item: Any, where: str, wanted: str = "(image, label)") -> tuple[Any, Any]:
    """An item of a data set as a pair; raises InvalidInputError for anything else."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InvalidInputError(f"{where} is {described(item)}: a pair {wanted} is wanted")
    return item[0], item[1]


def class_number(label: Any, classes: int, where: str) -> int:
    """A label as a whole number; raises InvalidInputError for other things, and outside 0 to `classes` - 1."""
    try:
        number = operator.index(label)  # of numpy's and torch's integers, too
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"{where} has a label that is {described(label)}: a whole number from 0 to {classes - 1} is wanted, the "
            "place of its class in `classes`"
        ) from error
    if not 0 <= number < classes:
        raise InvalidInputError(f"{where} has label {shown(number)}, though there are {classes} classes")
    return number


def described(value: Any) -> str:
    """What somebody's value is, in a few words."""
    if hasattr(value, "shape"):
        return f"a {type(value).__name__} of {getattr(value, 'dtype', '')} {tuple(value.shape)}"
    return f"{shown(value)} of type {type(value).__name__}"


def as_colour(image: Any) -> Any:
    """A PIL image of one of `MODES` in RGB: of 16 bits the upper 8, and what is transparent as it would show else."""
    from PIL import Image

    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 2**16 - 1)
        image = Image.fromarray((wide >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    return image.convert("RGB")


def image_name(source: Source, split: Split, index: int) -> str:
    """What an image is called in messages: its file, if the source knows it."""
    paths = getattr(source, "paths", None)
    return str(paths[index]) if paths else f"{split} image {index}"


def cut(
    labels: NDArray[np.int64], classes: tuple[str, ...], share: float, where: Path
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to train on and rows to judge by: `share` of each class, at least one image; the same ones every time.

    Raises InvalidInputError, which says `where` they are, for a class with one image only.
    """
    train, others = [], []
    for label, name in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise InvalidInputError(
                f"{where}: class {name} has {len(rows) or 'no'} image, and at least 2 are needed, one to train on and "
                "one to judge by"
            )
        rows = rows[np.random.Generator(np.random.PCG64(len(rows))).permutation(len(rows))]
        judged = min(max(1, round(share * len(rows))), len(rows) - 1)
        others.append(np.sort(rows[:judged]))
        train.append(np.sort(rows[judged:]))
    return np.concatenate(train), np.concatenate(others)


@lru_cache(maxsize=8)
def _order(count: int, *seed: int) -> NDArray[np.intp]:
    """The order in which a split's images come, one time around."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).permutation(count)


def _seed_of(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)  # torch takes 63 bits


@lru_cache(maxsize=8)
def _augmenting(hw: int, small: bool, randaugment: bool) -> Any:
    """What happens to an image that is trained on."""
    v2 = transforms()
    padded = [v2.Resize(hw), v2.RandomCrop(hw, padding=round(PADDING * hw), padding_mode="reflect")]
    crop = padded if small else [v2.RandomResizedCrop(hw)]
    return v2.Compose([*crop, v2.RandomHorizontalFlip(), *([v2.RandAugment()] if randaugment else [])])


@lru_cache(maxsize=8)
def _judging(hw: int, small: bool) -> Any:
    """What happens to an image that is judged by."""
    v2 = transforms()
    return v2.Compose([v2.Resize(_judged_side(hw, small)), v2.CenterCrop(hw)])


def _judged_side(hw: int, small: bool) -> int:
    """What the shorter side of an image that is judged by is made, before its middle is cut out."""
    return hw if small else round(hw / CROP_SHARE)
