"""Data sets of the user's own, found where they are, and batches that other processes prepare."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hwnas.training.datasets import Finite, open_dataset
from hwnas.training.prefetch import prefetched
from profilers.errors import InvalidInputError, LostError, UnknownNameError

from ..image_files import skip_without_torchvision, write_folders

MODULE = '''
import numpy as np
import torch
from PIL import Image


class Colours:
    """Images of one colour, which is their label."""

    classes = ["dark", "middle", "light"]

    def __init__(self, count, hw, make):
        self.count, self.hw, self.make = count, hw, make

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index >= self.count:
            raise IndexError(index)
        return self.make(self.hw, index), index % 3


def picture(hw, index):
    return Image.new("RGB", (2 * hw, hw + 9), (100 * (index % 3), 7, index))


def tensor(hw, index):
    return torch.full((1, hw, hw), float(index))


def pictures(seed, hw): return Colours(50, hw, picture)
def tensors(seed, hw): return Colours(50, hw, tensor)
def apart(seed, hw): return {split: Colours(12, hw, tensor) for split in ("train", "validation", "test")}
def halves(seed, hw): return {split: Colours(12, hw, tensor) for split in ("train", "test")}
def few(seed, hw): return Colours(9, hw, tensor)
def text(seed, hw): return "text"
def strings(seed, hw): return Colours(20, hw, lambda hw, index: "text")
def uneven(seed, hw): return Colours(20, hw, lambda hw, index: torch.zeros(3, hw + (index > 0), hw + (index > 0)))
def flat(seed, hw): return Colours(20, hw, lambda hw, index: torch.zeros(hw, hw))
def bytes_(seed, hw): return Colours(20, hw, lambda hw, index: torch.zeros((3, hw, hw), dtype=torch.uint8))


def nameless(seed, hw):
    found = Colours(20, hw, tensor)
    found.classes = ()
    return found


def mislabelled(seed, hw):
    found = Colours(20, hw, tensor)
    found.classes = ["dark", "light"]
    return found


def failing(seed, hw):
    raise ZeroDivisionError("of the user's own")


class Whole:
    name, classes, scaling, shape = "whole", ("a", "b"), "as it is", (1, 4, 4)

    def batch(self, split, index, size):
        return np.full((size, 1, 4, 4), index, np.float32), np.zeros(size, np.int64)


def whole(seed, hw): return Whole()


class Ending(Whole):
    def count(self, split): return 7
    def images(self, split, start, stop): return self.batch(split, start, stop - start)


def ending(seed, hw): return Ending()


class Broken(Whole):
    def batch(self, split, index, size): return next(iter(()))


def broken_batches(seed, hw): return Broken()


class Labelled(Colours):
    def __init__(self, label):
        super().__init__(20, 8, tensor)
        self.label = label

    def __getitem__(self, index):
        return self.make(self.hw, index), self.label


def tear(hw, index):
    if index:
        raise OSError("torn")
    return tensor(hw, index)


def short(seed, hw): return Colours(50, hw, lambda hw, index: [tensor(hw, index)][index > 5])
def torn(seed, hw): return {split: Colours(20, hw, tear) for split in ("train", "validation", "test")}
def triple(seed, hw): return [(1, 2, 3)] * 20
def poisoned(seed, hw): return Colours(50, hw, lambda hw, index: tensor(hw, index) * float("nan"))
def named(seed, hw):
    found = Colours(20, hw, tensor)
    found.classes = ["a", "b\\nc", "d"]
    return found
def unfinished(seed, hw):
    found = Whole()
    found.batch = Ending().batch
    return type("Bare", (), {"batch": found.batch})()
'''

BATCHES = """
class Batches(Whole):
    def batch(self, split, index, size):
        images, labels = super().batch(split, index, size)
        return {batch}


def batches(seed, hw): return Batches()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module of a name that no other test's has, in which the user is."""
    name = f"mine_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "wanting.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def test_a_data_set_that_is_one_already_is_taken_as_it_is(here):
    images, _ = open_dataset(f"{here}:whole").batch("train", 5, 2)
    assert images.shape == (2, 1, 4, 4) and (images == 5).all()


def test_pictures_of_the_users_own_are_augmented_and_scaled_as_all_are(here):
    skip_without_torchvision()
    dataset = open_dataset(f"{here}:pictures", 0, 16)
    assert dataset.classes == ("dark", "middle", "light") and dataset.shape == (3, 16, 16)
    assert [dataset.count(split) for split in ("train", "validation", "test")] == [40, 5, 5]
    for split in ("train", "test"):
        images, labels = dataset.batch(split, 0, 5)
        assert np.allclose(images[:, 0], ((100 * labels / 255 - 0.485) / 0.229)[:, None, None], atol=1e-5)


def test_tensors_of_the_users_own_are_taken_as_they_are_and_each_is_in_one_split(here):
    dataset = open_dataset(f"{here}:tensors", 0, 16)
    assert dataset.shape == (1, 16, 16) and here in dataset.scaling
    seen = {split: dataset.images(split, 0, dataset.count(split)) for split in ("train", "validation", "test")}
    values = [int(image.flat[0]) for images, _ in seen.values() for image in images]
    assert sorted(values) == list(range(50))
    assert all((images[:, 0, 0, 0] % 3 == labels).all() for images, labels in seen.values())


def test_splits_of_the_users_own_are_kept(here):
    assert [open_dataset(f"{here}:apart", 0, 8).count(split) for split in ("train", "validation", "test")] == [12] * 3


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("halves", "does not give images for each of train, validation, test"),
        ("few", "has 9 images: at least 10"),
        ("text", "gives a str|has 4 images"),
        ("strings", "is a str: a PIL image or a tensor"),
        ("uneven", "tensor of 3x9x9: one of floats of 3x8x8|tensor of 3x8x8"),
        ("flat", r"tensors of shape \(8, 8\)"),
        ("bytes_", "uint8 tensor of 3x8x8: one of floats"),
        ("nameless", "does not name its classes"),
        ("mislabelled", "has label 2, though there are 2 classes"),
        ("triple", "does not name its classes"),
        ("poisoned", "no finite numbers"),
        ("named", "control character"),
        ("unfinished", "without name, classes, scaling, shape"),
        ("absent", "has no function 'absent'"),
        ("MODULE", "has no function"),
    ],
)
def test_what_is_no_data_set_is_answered_with_one_line(here, function, wanted):
    with pytest.raises(InvalidInputError, match=wanted) as found:
        open_dataset(f"{here}:{function}", 0, 8).images("train", 0, 16)
    assert "\n" not in str(found.value) and f"{here}:" in str(found.value)


def test_a_module_that_is_not_there_is_told_from_one_that_lacks_something(here):
    with pytest.raises(InvalidInputError, match="no Python module nowhere in "):
        open_dataset("nowhere:make")
    with pytest.raises(InvalidInputError, match=r"raised ModuleNotFoundError: .*not_installed_.*wanting.py, line 1\)"):
        open_dataset("wanting:make")
    with pytest.raises(UnknownNameError, match="MODULE:FUNCTION"):
        open_dataset("no/module:make")


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("failing", "raised ZeroDivisionError: of the user's own"),
        ("short", r"train image \d+ raised IndexError"),
        ("torn", r"train image \d+ raised OSError: torn"),
        ("broken_batches", "train batch 0 raised StopIteration"),
    ],
)
def test_what_the_users_code_raises_is_one_line_with_its_place(here, function, wanted):
    with pytest.raises(InvalidInputError, match=wanted) as found:
        open_dataset(f"{here}:{function}", 0, 8).batch("train", 0, 16)
    assert "\n" not in str(found.value) and f"{here}.py, line " in str(found.value)


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ('"cat"', "a label that is 'cat' of type str: a whole number from 0 to 2"),
        ("[0, 1, 0]", "a label that is a list of 3"),
        ("torch.tensor([0, 1, 0])", r"a label that is a Tensor of torch.int64 \(3,\)"),
        ("np.eye(3)[1]", r"a label that is a ndarray of float64 \(3,\)"),
        ("1.0", "a label that is 1.0 of type float"),
        ("float('nan')", "a label that is nan of type float"),
        ("None", "a label that is None"),
        ("-1", "has label -1, though there are 3 classes"),
        ("3", "has label 3, though there are 3 classes"),
        ("10**400", "has label an integer of 1329 bits"),
    ],
)
def test_a_label_that_is_no_class_number_is_refused_by_what_it_is(here, label, wanted):
    with Path(f"{here}.py").open("a") as file:
        file.write(f"def labelled(seed, hw): return Labelled({label})\n")
    with pytest.raises(InvalidInputError, match=wanted) as found:
        open_dataset(f"{here}:labelled", 0, 8).images("train", 0, 2)
    assert "\n" not in str(found.value) and f"{here}:labelled" in str(found.value)


@pytest.mark.parametrize("label", ["np.int32(2)", "np.uint8(2)", "torch.tensor(2)", "True", "np.array(1)"])
def test_whole_numbers_of_every_library_are_labels(here, label):
    with Path(f"{here}.py").open("a") as file:
        file.write(f"def labelled(seed, hw): return Labelled({label})\n")
    _, labels = open_dataset(f"{here}:labelled", 0, 8).images("train", 0, 2)
    assert labels.dtype == np.int64 and labels.min() in (1, 2)


@pytest.mark.parametrize(
    ("batch", "wanted"),
    [
        ("images[:, :, :3], labels", r"images that are a ndarray of float32 \(4, 1, 3, 4\)"),
        ("images[:2], labels", r"images that are a ndarray of float32 \(2, 1, 4, 4\)"),
        ("images.astype(np.uint8), labels", "uint8"),
        ("images * float('nan'), labels", "no finite numbers"),
        ("torch.from_numpy(images), labels", "a Tensor"),
        ("images, labels[:3]", r"labels that are a ndarray of int64 \(3,\)"),
        ("images, labels.astype(float)", "labels that are a ndarray of float64"),
        ("images, np.eye(4)", "labels that are a ndarray"),
        ("images, list(labels)", "labels that are a list of 4"),
        ("images, labels + 2", "labels outside 0 to 1"),
        ("images, labels - 1", "labels outside 0 to 1"),
        ("images", r"a pair \(images, labels\)"),
    ],
)
def test_batches_of_the_users_own_are_looked_at(here, batch, wanted):
    with Path(f"{here}.py").open("a") as file:
        file.write(BATCHES.format(batch=batch))
    with pytest.raises(InvalidInputError, match=wanted) as found:
        open_dataset(f"{here}:batches").batch("train", 0, 4)
    assert "\n" not in str(found.value) and "train batch 0" in str(found.value)


def test_batches_of_other_precisions_are_taken(here):
    with Path(f"{here}.py").open("a") as file:
        file.write(BATCHES.format(batch="images.astype(np.float64), labels.astype(np.uint8)"))
    images, labels = open_dataset(f"{here}:batches").batch("train", 0, 4)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)


def test_a_data_set_with_an_end_keeps_it(here):
    dataset = open_dataset(f"{here}:ending")
    assert isinstance(dataset, Finite) and not isinstance(open_dataset(f"{here}:whole"), Finite)
    assert dataset.count("test") == 7 and dataset.images("test", 2, 5)[0].shape == (3, 1, 4, 4)


class TestProcesses:
    pytestmark = pytest.mark.slow

    def test_batches_made_ahead_are_the_same_in_whatever_order_they_are_asked_for(self, tmp_path):
        skip_without_torchvision()
        dataset = open_dataset(f"imagefolder:{write_folders(tmp_path, 'train', 'val', each=10)}", 0, 16).randaugmented()
        asked = [("train", n, 4) for n in (5, 6, 7, 8)] + [("validation", n, 2) for n in (0, 1)] + [("train", 9, 4)]
        state = torch.get_rng_state()
        with prefetched(dataset, 2) as ahead:
            assert (ahead.name, ahead.classes, ahead.shape) == (dataset.name, dataset.classes, dataset.shape)
            for one in asked:
                found, expected = ahead.batch(*one), dataset.batch(*one)
                assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_bad_image_is_named_from_another_process_too(self, tmp_path):
        skip_without_torchvision()
        write_folders(tmp_path, "train", "val", each=10, classes=2)
        dataset = open_dataset(f"imagefolder:{tmp_path}", 0, 16)
        for path in (tmp_path / "val").rglob("*.png"):
            path.write_text("no image")
        with prefetched(dataset, 1) as ahead:
            ahead._next = ("test", 0, 4)  # so that another process is asked at once
            with pytest.raises(InvalidInputError, match="images cannot be decoded") as found:
                ahead.batch("test", 0, 4)
        assert "\n" not in str(found.value)

    def test_a_process_that_dies_is_told_of(self):
        with prefetched(Deadly(os.getpid()), 1) as ahead:
            ahead._next = ("train", 0, 4)
            with pytest.raises(LostError, match="fewer --workers"):
                ahead.batch("train", 0, 4)

    def test_no_processes_are_begun_where_none_are_wanted(self):
        dataset = Deadly(0)
        with prefetched(dataset, 0) as same:
            assert same is dataset


class Deadly:
    """Ends the process that it is asked in, unless it is the one that made it."""

    name, classes, scaling, shape = "deadly", ("a", "b"), "as it is", (1, 4, 4)

    def __init__(self, spared):
        self.spared = spared

    def batch(self, *_):
        if os.getpid() != self.spared:
            os._exit(3)
        raise AssertionError(Path("the other process was to be asked"))
