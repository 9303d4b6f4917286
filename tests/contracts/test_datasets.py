"""Every data set found in `hwnas.training.datasets` keeps the contract of one."""

import subprocess
import sys
import warnings
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from hwnas.training import datasets
from hwnas.training.datasets import Finite
from profilers.errors import InvalidInputError, UnknownNameError

from ..image_files import skip_without_torchvision, write_cifar10, write_cifar100, write_folders

SPLITS = ("train", "validation", "test")
HW = 24

each_dataset = pytest.mark.parametrize("kind", datasets.names())


@pytest.fixture(scope="session")
def on_disk(tmp_path_factory):
    """What the names of data sets that are read say behind their colon."""
    skip_without_torchvision()
    folder = tmp_path_factory.mktemp("images")
    return {
        "cifar10": write_cifar10(folder / "cifar10"),
        "cifar100": write_cifar100(folder / "cifar100"),
        "imagefolder": write_folders(folder / "folders", "train", "val", each=110),
    }


@pytest.fixture
def name(kind, request):
    return kind if kind == "digit-pairs" else f"{kind}:{request.getfixturevalue('on_disk')[kind]}"


def open_dataset(name, seed=0):
    return datasets.open_dataset(name, seed, HW)


@each_dataset
def test_a_data_set_answers_to_its_name_and_says_what_it_holds(name):
    dataset = open_dataset(name)
    assert dataset.name == name
    assert len(dataset.classes) >= 2 and len(set(dataset.classes)) == len(dataset.classes)
    assert all(label and "\n" not in label for label in dataset.classes)  # a bundle lists them, one a line
    assert dataset.scaling and dataset.shape[0] in (1, 3) and dataset.shape[1:] == (HW, HW)


@each_dataset
@pytest.mark.parametrize("split", SPLITS)
def test_a_batch_has_the_shapes_types_and_labels_that_are_promised(name, split):
    dataset = open_dataset(name)
    images, labels = dataset.batch(split, 0, 50)
    assert images.shape == (50, *dataset.shape) and images.dtype == np.float32 and np.isfinite(images).all()
    assert labels.shape == (50,) and labels.dtype == np.int64
    assert labels.min() >= 0 and labels.max() < len(dataset.classes) and len(set(labels)) > 1


@each_dataset
@pytest.mark.parametrize("split", SPLITS)
def test_a_batch_depends_on_the_seed_and_the_arguments_alone(name, split):
    import torch

    dataset, again = open_dataset(name, 5), open_dataset(name, 5)
    expected = [array.copy() for array in dataset.batch(split, 7, 6)]
    for other in SPLITS:
        again.batch(other, 1, 3)
    np.random.seed(0)  # noqa: NPY002 - exactly the state that must not be used
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = again.batch(split, 7, 6)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    found[0][:] = 0  # what a caller does with its batch is nobody else's
    assert np.array_equal(again.batch(split, 7, 6)[0], expected[0])


@each_dataset
def test_training_images_are_drawn_anew_with_another_seed(name):
    assert not np.array_equal(
        open_dataset(name, 1).batch("train", 0, 8)[0], open_dataset(name, 2).batch("train", 0, 8)[0]
    )


@each_dataset
def test_batches_of_other_numbers_and_splits_hold_other_images(name):
    dataset = open_dataset(name)
    drawn = [dataset.batch(split, index, 20)[0] for split in SPLITS for index in (0, 1)]
    images = {image.tobytes() for batch in drawn for image in batch}
    assert len(images) == 20 * len(drawn)


@each_dataset
def test_images_are_scaled_to_what_networks_take(name):
    images, _ = open_dataset(name).batch("train", 0, 200)
    assert abs(images.mean()) < 1 and 0.2 < images.std() < 2


@each_dataset
def test_a_data_set_can_be_handed_to_another_process(name):
    dataset = open_dataset(name)
    copied = ForkingPickler.loads(ForkingPickler.dumps(dataset))
    assert np.array_equal(copied.batch("test", 0, 5)[0], dataset.batch("test", 0, 5)[0])


@each_dataset
def test_where_images_end_each_of_them_comes_once_before_any_comes_again(name):
    dataset = open_dataset(name)
    if not isinstance(dataset, Finite):
        pytest.skip(f"{name} has no end")
    for split in ("validation", "test"):
        count = dataset.count(split)
        images, labels = dataset.images(split, 0, 2 * count)
        first, second = ([image.tobytes() for image in part] for part in (images[:count], images[count:]))
        assert len(set(first)) == count and set(second) == set(first) and second != first
        assert np.array_equal(dataset.batch(split, 2, 7)[1], labels[14:21])


def test_an_unknown_data_set_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match=r"cifar10.*digit-pairs.*imagefolder"):
        datasets.open_dataset("imagenet")


@each_dataset
def test_what_a_list_says_of_a_data_set_is_what_it_is(kind, name):
    (info,) = (info for info in datasets.listing() if info.name == kind)
    warnings.simplefilter("ignore")  # the images on disk are smaller than people's; pytest puts its own filter back
    dataset = datasets.open_dataset(name)
    assert dataset.shape == (info.facts.channels, info.facts.hw, info.facts.hw)
    assert info.facts.classes in (None, len(dataset.classes))
    assert info.facts.spelling.startswith(kind) and info.summary.endswith((".", "`"))


def test_which_data_sets_can_be_downloaded_is_said_by_their_own_files(monkeypatch):
    assert [info.name for info in datasets.listing() if info.downloadable] == ["cifar10", "cifar100"]
    monkeypatch.delattr("hwnas.training.datasets.cifar100.download")
    with pytest.raises(
        InvalidInputError, match="cifar100 cannot be downloaded: there is cifar10; leave out --download"
    ):
        datasets.download("cifar100")


def test_a_list_of_data_sets_waits_for_no_torch():
    code = "import sys; from hwnas.training import datasets; datasets.listing(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
