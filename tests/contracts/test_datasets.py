"""Every data set found in `hwnas.training.datasets` keeps the contract of one."""

import numpy as np
import pytest

from hwnas.training import datasets
from profilers.errors import UnknownNameError

SPLITS = ("train", "validation", "test")

each_dataset = pytest.mark.parametrize("name", datasets.names())


@each_dataset
def test_a_data_set_answers_to_its_name_and_says_what_it_holds(name):
    dataset = datasets.open_dataset(name)
    assert dataset.name == name
    assert len(dataset.classes) >= 2 and len(set(dataset.classes)) == len(dataset.classes)
    assert all(label and "\n" not in label for label in dataset.classes)  # a bundle lists them, one a line
    assert dataset.scaling and all(side > 0 for side in dataset.shape) and len(dataset.shape) == 3


@each_dataset
@pytest.mark.parametrize("split", SPLITS)
def test_a_batch_has_the_shapes_types_and_labels_that_are_promised(name, split):
    dataset = datasets.open_dataset(name)
    images, labels = dataset.batch(split, 0, 50)
    assert images.shape == (50, *dataset.shape) and images.dtype == np.float32 and np.isfinite(images).all()
    assert labels.shape == (50,) and labels.dtype == np.int64
    assert labels.min() >= 0 and labels.max() < len(dataset.classes) and len(set(labels)) > 1


@each_dataset
@pytest.mark.parametrize("split", SPLITS)
def test_a_batch_depends_on_the_seed_and_the_arguments_alone(name, split):
    dataset, again = datasets.open_dataset(name, 5), datasets.open_dataset(name, 5)
    expected = [array.copy() for array in dataset.batch(split, 7, 6)]
    for other in SPLITS:
        again.batch(other, 1, 3)
    np.random.seed(0)  # noqa: NPY002 - exactly the state that must not be used
    found = again.batch(split, 7, 6)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    found[0][:] = 0  # what a caller does with its batch is nobody else's
    assert np.array_equal(again.batch(split, 7, 6)[0], expected[0])


@each_dataset
def test_batches_of_other_numbers_and_splits_hold_other_images(name):
    dataset = datasets.open_dataset(name)
    drawn = [dataset.batch(split, index, 20)[0] for split in SPLITS for index in (0, 1)]
    images = {image.tobytes() for batch in drawn for image in batch}
    assert len(images) == 20 * len(drawn)


@each_dataset
def test_images_are_scaled_to_what_networks_take(name):
    images, _ = datasets.open_dataset(name).batch("train", 0, 200)
    assert abs(images.mean()) < 1 and 0.2 < images.std() < 2


def test_an_unknown_data_set_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="digit-pairs"):
        datasets.open_dataset("imagenet")
