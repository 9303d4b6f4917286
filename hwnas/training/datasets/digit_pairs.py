"""Digit pairs: 100 classes "00".."99", two real handwritten digits side by side on a cluttered grey image.

Drawn on the fly from the 1,797 digits of 8x8 pixels that come with scikit-learn, so nothing is downloaded. Training, validation and test
images are made of disjoint source digits. All drawing is integer arithmetic: a batch is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
CLASSES: Final = tuple(f"{pair:02d}" for pair in range(100))
SPLIT_PERCENT: Final = (70, 15, 15)
SPLIT_SEED: Final = (
    1797  # the split is part of the dataset: another drawing seed must not move a test digit into training
)

# Sines of 0, 3, ..., 36 degrees in 1/4096, written out because libm's last digit differs between machines.
SINES: Final = np.array([0, 214, 428, 641, 852, 1060, 1266, 1468, 1666, 1860, 2048, 2231, 2408], np.int32)
COSINES: Final = np.array([4096, 4090, 4074, 4046, 4006, 3956, 3896, 3824, 3742, 3650, 3547, 3435, 3314], np.int32)

ZOOM: Final = 4  # a source digit is kept enlarged this much: one look-up per pixel then replaces four
GLYPH: Final = 8 * ZOOM + 2  # side of an enlarged digit with its border of empty pixels

# How hard the task is. Lengths are percentages of the image's side, inks and greys are of 255.
SIZE: Final = (36, 58)  # height of a digit; its width is another draw
CENTER_X: Final = (27, 33)  # of the left digit; the right one mirrors it
CENTER_Y: Final = (38, 62)
INK: Final = (70, 200)
FRAGMENTS: Final = 3  # pieces of other digits of the same split, anywhere in the image
FRAGMENT_SIDE: Final = (8, 15)  # pixels of the enlarged digit that a piece keeps
BACKGROUND: Final = (10, 50)
NOISE: Final = 48  # the widest range of the noise added to a pixel


@dataclass(frozen=True)
class DigitPairs:
    """A dataset of 100 classes, given batch by batch: images (B, 1, H, W) of about zero mean, and labels (B,)."""

    seed: int
    glyphs: Bytes = field(repr=False, compare=False)  # (sources, GLYPH * GLYPH)
    sources: Mapping[Split, tuple[NDArray[np.int64], ...]] = field(repr=False, compare=False)  # per split and digit
    image_hw: int = 48
    name: str = "digit-pairs"
    classes: tuple[str, ...] = CLASSES

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: (C, H, W)."""
        return (1, self.image_hw, self.image_hw)

    def batch(self, split: Split, index: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Images (size, 1, H, W) and labels (size,): the same arguments give the same batch, in any order, on any machine."""
        rng = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self.seed, SPLITS.index(split), index, size]))
        )
        digits = rng.integers(0, 10, (size, 2 + FRAGMENTS))
        counts = np.array([len(of_digit) for of_digit in self.sources[split]])
        starts = np.cumsum(counts) - counts
        chosen = np.concatenate(self.sources[split])[starts[digits] + rng.integers(0, counts[digits])]
        layers = _draw_layers(rng, size, self.image_hw)
        ink = _ink(self.glyphs, chosen, layers, self.image_hw)
        grey = _grey(rng, ink)
        # 1/64 is a power of two, so this is exact: round(64 * x + 128) gives the bytes back.
        images = (grey[:, None].astype(np.float32) - 128) / 64
        return images, 10 * digits[:, 0] + digits[:, 1]


def build(seed: int = 0) -> DigitPairs:
    """The dataset whose drawings depend on `seed`; which source digits are train, validation and test does not."""
    from sklearn.datasets import load_digits  # here, because scikit-learn takes a second to import

    digits = load_digits()
    return DigitPairs(seed, _enlarge(digits.images.astype(np.int32)), _split(digits.target))


def _split(target: NDArray[np.int64]) -> dict[Split, tuple[NDArray[np.int64], ...]]:
    """Row numbers of the source digits, per split and digit: disjoint, and in the same proportions for every digit."""
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
    """Digits (N, 8, 8) of 0..16, enlarged ZOOM times by linear interpolation, as (N, GLYPH * GLYPH) of 0..255."""
    fine = (
        np.arange(GLYPH) * 2 - 1
    )  # twice the distance of a fine pixel's centre from the digit's edge, one border pixel out
    weights = np.maximum(0, 2 * ZOOM - np.abs(fine[:, None] - (2 * np.arange(8) + 1) * ZOOM))  # (GLYPH, 8)
    enlarged = np.einsum("yi,nij,xj->nyx", weights, images, weights) * 255 // (16 * (2 * ZOOM) ** 2)
    enlarged[:, [0, -1], :] = 0  # every pixel outside a digit is looked up in this border
    enlarged[:, :, [0, -1]] = 0
    return enlarged.astype(np.uint8).reshape(len(images), -1)


@dataclass(frozen=True)
class _Layers:
    """Where and how strongly each of an image's digits and fragments is drawn; every array is (images, layers)."""

    angle: Ints  # index into SINES, negative to the left
    width: Ints  # of the whole digit, in pixels of the image
    height: Ints
    center_x: Ints
    center_y: Ints
    left: Ints  # the window of the enlarged digit that is drawn
    top: Ints
    side: Ints
    ink: Ints


def _draw_layers(rng: np.random.Generator, images: int, image_hw: int) -> _Layers:
    """Random layers of `images` images: first the left digit, then the right one, then the fragments."""
    everything = (images, 2 + FRAGMENTS)

    def percent(bounds: tuple[int, int], shape: tuple[int, int]) -> Ints:
        return _between(rng, (bounds[0] * image_hw, bounds[1] * image_hw), shape) // 100

    width, height = percent(SIZE, everything), percent(SIZE, everything)
    center_x, center_y = percent((0, 100), everything), percent((0, 100), everything)
    center_x[:, :2] = percent(CENTER_X, (images, 2))
    center_x[:, 1] = image_hw - center_x[:, 1]
    center_y[:, :2] = percent(CENTER_Y, (images, 2))
    side = _between(rng, FRAGMENT_SIDE, everything)
    side[:, :2] = GLYPH
    left, top = (rng.integers(0, GLYPH - side + 1).astype(np.int32) for _ in range(2))
    angle = _between(rng, (1 - len(SINES), len(SINES) - 1), everything)
    return _Layers(angle, width, height, center_x, center_y, left, top, side, _between(rng, INK, everything))


def _between(rng: np.random.Generator, bounds: tuple[int, int], shape: tuple[int, int]) -> Ints:
    """Random integers, both bounds included."""
    return rng.integers(bounds[0], bounds[1] + 1, shape).astype(np.int32)


def _ink(glyphs: Bytes, chosen: NDArray[np.int64], layers: _Layers, image_hw: int) -> Ints:
    """Ink (B, H, W) of 0..255: for every pixel, its place in each layer's glyph is looked up and the darkest layer wins."""
    total = np.zeros((len(chosen), image_hw, image_hw), np.int32)
    pixels = np.arange(image_hw, dtype=np.int32)
    for layer in range(chosen.shape[1]):
        angle, width, height, center_x, center_y, left, top, side, ink = (
            getattr(layers, name)[:, layer, None, None] for name in _Layers.__dataclass_fields__
        )
        sine, cosine = np.sign(angle) * SINES[np.abs(angle)], COSINES[np.abs(angle)]
        x, y = pixels[None, None, :] - center_x, pixels[None, :, None] - center_y  # (B, 1, W), (B, H, 1)
        # Glyph coordinates in 1/4096 pixel; under 2**30 for images of up to 200 pixels.
        middle = GLYPH * 2048
        u = (((cosine * x) * (8 * ZOOM) // width + middle) + (sine * y) * (8 * ZOOM) // width) >> 12
        v = (((-sine * x) * (8 * ZOOM) // height + middle) + (cosine * y) * (8 * ZOOM) // height) >> 12
        inside = (u >= left) & (u < left + side) & (v >= top) & (v < top + side)
        place = np.where(inside, v * GLYPH + u, 0) + (chosen[:, layer, None, None] * GLYPH**2).astype(np.int32)
        np.maximum(total, glyphs.reshape(-1)[place] * ink >> 8, out=total)
    return total


def _grey(rng: np.random.Generator, ink: Ints) -> Bytes:
    """Grey images (B, H, W): ink on a background with noise, half of them inverted."""
    noise = rng.integers(0, 256, ink.shape, np.uint8).astype(np.int32)
    strength = _between(rng, (0, NOISE), (len(ink), 1))[:, :, None]
    light = _between(rng, BACKGROUND, (len(ink), 1))[:, :, None]
    grey = np.clip(ink + light + (noise * strength >> 8), 0, 255)
    inverted = rng.integers(0, 2, (len(ink), 1, 1)).astype(np.int32)
    return np.abs(255 * inverted - grey).astype(np.uint8)
