"""Digit pairs: 100 classes "00".."99", two real handwritten digits side by side on a cluttered grey image.

Drawn on the fly from the 1,797 digits of 8x8 pixels that come with scikit-learn, so nothing is downloaded.
Training, validation and test images are made of disjoint source digits. All drawing is integer arithmetic: a
batch is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hwnas.training.datasets import Facts
from hwnas.training.picture_form import PictureForm
from profilers.errors import InvalidInputError

Split = Literal["train", "validation", "test"]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Bounds = tuple[int, int]  # both included
Sources = Mapping[Split, tuple[NDArray[np.int64], ...]]  # rows of source digits, per split and digit

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
CLASSES: Final = tuple(f"{pair:02d}" for pair in range(100))
HW: Final = 40
FACTS: Final = Facts(spelling="digit-pairs", channels=1, hw=HW, classes=len(CLASSES))
SPLIT_PERCENT: Final = (70, 15, 15)
SPLIT_SEED: Final = 1797  # the split is part of the dataset: it must not move with the drawing seed

# Sines of 0, 3, ..., 30 degrees in 1/4096, written out because libm's last digit differs between machines.
SINES: Final = np.array([0, 214, 428, 641, 852, 1060, 1266, 1468, 1666, 1860, 2048], np.int32)
COSINES: Final = np.array([4096, 4090, 4074, 4046, 4006, 3956, 3896, 3824, 3742, 3650, 3547], np.int32)

ZOOM: Final = 4  # a source digit is kept enlarged this much: one look-up per pixel then replaces four
GLYPH: Final = 8 * ZOOM + 2  # side of an enlarged digit with its border of empty pixels

# How hard the task is. Lengths are percentages of the image's side, inks and greys are of 255.
SIZE: Final = (42, 58)  # height of a digit; its width is another draw
TILT: Final = 7  # the largest rotation either way, in steps of 3 degrees
CENTER_X: Final = (27, 33)  # of the left digit; the right one mirrors it
CENTER_Y: Final = (42, 58)
INK: Final = (90, 200)
FRAGMENTS: Final = 2  # pieces of other digits of the same split, anywhere in the image
FRAGMENT_INK: Final = (50, 120)  # dimmer than most digits, so that the task can be solved
FRAGMENT_SIDE: Final = (8, 15)  # pixels of the enlarged digit that a piece keeps
BACKGROUND: Final = (10, 50)
NOISE: Final = 40  # the widest range of the noise added to a pixel


@dataclass(frozen=True)
class DigitPairs:
    """A dataset of 100 classes, given in batches: images (B, 1, H, W) of about zero mean, and labels (B,)."""

    seed: int
    glyphs: Bytes = field(repr=False, compare=False)  # (sources, GLYPH * GLYPH)
    sources: Sources = field(repr=False, compare=False)
    image_hw: int = HW
    name: str = "digit-pairs"
    scaling: str = "(grey - 64) / 64 of a grey image from 0 to 255"
    classes: tuple[str, ...] = CLASSES

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: (C, H, W)."""
        return (1, self.image_hw, self.image_hw)

    @property
    def picture_form(self) -> PictureForm:
        """How a picture of two digits is prepared: whole, in grey, scaled as `scaling` says."""
        return PictureForm(self.image_hw, 1, (64,), (64,))

    def batch(self, split: Split, index: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Images (size, 1, H, W) and labels (size,): the same arguments give the same batch anywhere."""
        rng = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self.seed, SPLITS.index(split), index, size]))
        )
        digits = rng.integers(0, 10, (size, 2 + FRAGMENTS))
        counts = np.array([len(of_digit) for of_digit in self.sources[split]])
        starts = np.cumsum(counts) - counts
        chosen = np.concatenate(self.sources[split])[starts[digits] + rng.integers(0, counts[digits])]
        ink = np.zeros((size, self.image_hw, self.image_hw), np.int32)
        for rows, layer in zip(chosen.T, _draw_layers(rng, size, self.image_hw), strict=True):
            np.maximum(ink, _ink(self.glyphs[rows], layer, self.image_hw), out=ink)
        grey = _grey(rng, ink)
        # 1/64 is a power of two, so this is exact: 64 * x + 64 gives the bytes back.
        images = (grey[:, None].astype(np.float32) - np.float32(64)) / np.float32(64)
        return images, 10 * digits[:, 0] + digits[:, 1]


def build(seed: int = 0, hw: int | None = None, place: str = "") -> DigitPairs:
    """The dataset whose drawings, of `hw` x `hw` pixels, depend on `seed`; the split of the source digits does not."""
    from sklearn.datasets import load_digits  # here, because scikit-learn takes a second to import

    if place:
        raise InvalidInputError(f"digit-pairs is drawn, not read: leave out :{place}")
    digits = load_digits()
    return DigitPairs(seed, _enlarge(digits.images.astype(np.int32)), _split(digits.target), hw or HW)


def _split(target: NDArray[np.int64]) -> Sources:
    """Rows of the source digits per split and digit: disjoint, in the same proportions for every digit."""
    rng = np.random.Generator(np.random.PCG64(SPLIT_SEED))
    order = np.argsort(rng.integers(0, 2**62, len(target)), kind="stable")
    train, validation, _ = SPLIT_PERCENT
    parts: dict[Split, list[NDArray[np.int64]]] = {split: [] for split in SPLITS}
    for digit in range(10):
        rows = order[target[order] == digit]
        cuts = [len(rows) * train // 100, len(rows) * (train + validation) // 100]
        for split, part in zip(SPLITS, np.split(rows, cuts), strict=True):
            parts[split].append(part)
    return {split: tuple(rows) for split, rows in parts.items()}


def _enlarge(images: Ints) -> Bytes:
    """Digits (N, 8, 8) of 0..16, enlarged ZOOM times (bilinear), as (N, GLYPH * GLYPH) of 0..255."""
    # Twice the distance of an enlarged pixel's centre from the digit's edge; the first one is in the border.
    fine = np.arange(GLYPH) * 2 - 1
    weights = np.maximum(0, 2 * ZOOM - np.abs(fine[:, None] - (2 * np.arange(8) + 1) * ZOOM))  # (GLYPH, 8)
    full = 16 * (2 * ZOOM) ** 2
    enlarged: Ints = np.einsum("yi,nij,xj->nyx", weights, images, weights) * 255 // full
    enlarged[:, [0, -1], :] = 0  # every pixel outside a digit is looked up in this border
    enlarged[:, :, [0, -1]] = 0
    return enlarged.astype(np.uint8).reshape(len(images), -1)


@dataclass(frozen=True)
class _Layer:
    """One digit or fragment for each image of a batch: where and how strongly; every array is (B, 1, 1)."""

    angle: Ints  # index into SINES, negative to the left
    width: Ints  # of the whole digit, in pixels of the image
    height: Ints
    center_x: Ints
    center_y: Ints
    left: Ints  # the window of the enlarged digit that is drawn
    top: Ints
    side: Ints
    ink: Ints


def _draw_layers(rng: np.random.Generator, count: int, image_hw: int) -> list[_Layer]:
    """Random layers for `count` images: the left digit, the right one, then the fragments."""
    whole, mirrored = (GLYPH, GLYPH), (100 - CENTER_X[1], 100 - CENTER_X[0])
    looks = [(CENTER_X, CENTER_Y, whole, INK), (mirrored, CENTER_Y, whole, INK)]
    looks += FRAGMENTS * [((0, 100), (0, 100), FRAGMENT_SIDE, FRAGMENT_INK)]
    return [_draw_layer(rng, count, image_hw, *look) for look in looks]


def _draw_layer(
    rng: np.random.Generator,
    count: int,
    image_hw: int,
    center_x: Bounds,
    center_y: Bounds,
    side: Bounds,
    ink: Bounds,
) -> _Layer:
    """A random layer with its centre (percent of the image), window (pixels of a glyph) and ink in bounds."""

    def pixels(percent: Bounds) -> Ints:
        return _between(rng, (percent[0] * image_hw, percent[1] * image_hw), count) // 100

    sides = _between(rng, side, count)
    left, top = (rng.integers(0, GLYPH - sides + 1).astype(np.int32) for _ in range(2))
    return _Layer(
        angle=_between(rng, (-TILT, TILT), count),
        width=pixels(SIZE),
        height=pixels(SIZE),
        center_x=pixels(center_x),
        center_y=pixels(center_y),
        left=left,
        top=top,
        side=sides,
        ink=_between(rng, ink, count),
    )


def _between(rng: np.random.Generator, bounds: Bounds, count: int) -> Ints:
    """Random integers (count, 1, 1), both bounds included."""
    return rng.integers(bounds[0], bounds[1] + 1, (count, 1, 1)).astype(np.int32)


def _ink(glyphs: Bytes, layer: _Layer, image_hw: int) -> Ints:
    """Ink (B, H, W) of 0..255 of one layer: every pixel looks up its place in its image's glyph."""
    sine, cosine = np.sign(layer.angle) * SINES[np.abs(layer.angle)], COSINES[np.abs(layer.angle)]
    pixels = np.arange(image_hw, dtype=np.int32)
    x = pixels[None, None, :] - layer.center_x  # (B, 1, W)
    y = pixels[None, :, None] - layer.center_y  # (B, H, 1)
    # Pixels of the glyph per pixel of the image, and places in the glyph, in 1/4096.
    per_x: Ints = np.floor_divide(8 * ZOOM * 4096, layer.width)
    per_y: Ints = np.floor_divide(8 * ZOOM * 4096, layer.height)
    middle = GLYPH * 2048
    u = ((cosine * per_x >> 12) * x + middle) + (sine * per_x >> 12) * y >> 12  # (B, H, W)
    v = ((cosine * per_y >> 12) * y + middle) - (sine * per_y >> 12) * x >> 12
    across, down = u - layer.left, v - layer.top
    drawn = (across >= 0) & (across < layer.side) & (down >= 0) & (down < layer.side)
    place = np.where(drawn, v * GLYPH + u, 0)
    return np.take_along_axis(glyphs, place.reshape(len(glyphs), -1), 1).reshape(place.shape) * layer.ink >> 8


def _grey(rng: np.random.Generator, ink: Ints) -> Bytes:
    """Grey images (B, H, W): ink on a darker background, with noise."""
    noise = rng.integers(0, 256, ink.shape, np.uint8).astype(np.int32)
    strength, light = _between(rng, (0, NOISE), len(ink)), _between(rng, BACKGROUND, len(ink))
    return np.clip(ink + light + (noise * strength >> 8), 0, 255).astype(np.uint8)
