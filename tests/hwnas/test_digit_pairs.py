"""Digit pairs are the same everywhere, their splits share no digit, and their labels say what is drawn."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwnas.training.datasets import digit_pairs
from hwnas.training.datasets.digit_pairs import DigitPairs, Split

GOLDEN: dict[Split, str] = {
    "train": "cab6b913b66d164ef5393cc25f384a84479204620b19b5d4a6996c1774f447b2",
    "validation": "afae387cc7255356350c4679954477c5d5d25dd32daf06e3cd963c5d3cd0f966",
    "test": "1ad579c0d4d384bf0e43907ebf0e5c05cf38fd6d9d451728b0426a47916b93b7",
}


@pytest.fixture(scope="module")
def pairs() -> DigitPairs:
    return digit_pairs.build()


def grey(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The bytes that were drawn, which `batch` scales without rounding."""
    drawn = images * 64 + 64
    assert np.array_equal(drawn, np.round(drawn)) and drawn.min() >= 0 and drawn.max() <= 255
    return drawn.astype(np.uint8)


@pytest.mark.parametrize("split", GOLDEN)
def test_a_batch_is_the_same_on_every_machine(pairs: DigitPairs, split: Split) -> None:
    images, labels = pairs.batch(split, 3, 16)
    drawn = hashlib.sha256(grey(images).tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    assert drawn == GOLDEN[split]


@settings(max_examples=25, deadline=None)
@given(
    split=st.sampled_from(digit_pairs.SPLITS),
    index=st.integers(0, 2**31),
    size=st.integers(1, 9),
    between=st.integers(0, 99),
)
def test_a_batch_does_not_depend_on_what_was_drawn_before(
    pairs: DigitPairs, split: Split, index: int, size: int, between: int
) -> None:
    images, labels = pairs.batch(split, index, size)
    pairs.batch("train", between, 2)
    again_images, again_labels = digit_pairs.build().batch(split, index, size)
    assert np.array_equal(images, again_images) and np.array_equal(labels, again_labels)
    assert images.shape == (size, *pairs.shape) and images.dtype == np.float32
    assert labels.shape == (size,) and labels.dtype == np.int64
    assert labels.min() >= 0 and labels.max() < len(pairs.classes)


def test_seed_split_and_index_all_change_what_is_drawn(pairs: DigitPairs) -> None:
    batches = [
        pairs.batch("train", 0, 4),
        pairs.batch("train", 1, 4),
        pairs.batch("test", 0, 4),
        digit_pairs.build(1).batch("train", 0, 4),
    ]
    assert len({images.tobytes() for images, _ in batches}) == len(batches)


def test_splits_share_no_source_digit_and_use_all_of_them(pairs: DigitPairs) -> None:
    rows = {split: np.concatenate(of_digit) for split, of_digit in pairs.sources.items()}
    together = np.concatenate(list(rows.values()))
    assert np.array_equal(np.sort(together), np.arange(1797))
    glyphs = {split: {pairs.glyphs[row].tobytes() for row in of_split} for split, of_split in rows.items()}
    assert (
        not glyphs["train"] & glyphs["test"]
        and not glyphs["train"] & glyphs["validation"]
        and not glyphs["validation"] & glyphs["test"]
    )
    assert [round(100 * len(of_split) / 1797) for of_split in rows.values()] == [70, 15, 15]


def test_the_split_does_not_depend_on_the_seed(pairs: DigitPairs) -> None:
    other = digit_pairs.build(7)
    assert all(
        np.array_equal(a, b)
        for split in digit_pairs.SPLITS
        for a, b in zip(pairs.sources[split], other.sources[split], strict=True)
    )


@pytest.mark.parametrize("split", digit_pairs.SPLITS)
def test_only_digits_of_the_split_are_drawn(pairs: DigitPairs, split: Split) -> None:
    kept = np.zeros_like(pairs.glyphs)
    for rows in pairs.sources[split]:
        kept[rows] = pairs.glyphs[rows]
    blank_elsewhere = DigitPairs(pairs.seed, kept, pairs.sources)
    assert np.array_equal(pairs.batch(split, 5, 64)[0], blank_elsewhere.batch(split, 5, 64)[0])


def test_every_class_is_drawn_about_equally_often(pairs: DigitPairs) -> None:
    counts = np.bincount(pairs.batch("validation", 0, 2000)[1], minlength=100)
    assert counts.shape == (100,) and counts.min() > 3 and counts.max() < 45


def test_labels_say_which_digit_stands_left_and_which_right(pairs: DigitPairs) -> None:
    """A linear classifier of training halves tells the digits of test halves better than chance, 10 %."""

    def halves(split: Split, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        images, labels = pairs.batch(split, 0, count)
        pooled = images.reshape(count, 20, 2, 2, 10, 2).mean((2, 5))  # (B, 20 rows, 2 halves, 10 columns)
        both = pooled.transpose(2, 0, 1, 3).reshape(2 * count, -1)
        return np.column_stack([both, np.ones(2 * count)]), np.concatenate([labels // 10, labels % 10])

    train, train_digits = halves("train", 3000)
    test, test_digits = halves("test", 500)
    weights = np.linalg.lstsq(train, np.eye(10)[train_digits], rcond=None)[0]
    told = (test @ weights).argmax(1)
    assert (told == test_digits).reshape(2, -1).mean(1).min() > 0.3
    assert (told == np.roll(test_digits, 500)).mean() < 0.15  # as if left and right were swapped


def test_image_side_is_a_parameter(pairs: DigitPairs) -> None:
    large = DigitPairs(0, pairs.glyphs, pairs.sources, image_hw=64)
    images, _ = large.batch("train", 0, 8)
    assert large.shape == (1, 64, 64) and images.shape == (8, 1, 64, 64)
    assert 0.5 < images.std() < 2
