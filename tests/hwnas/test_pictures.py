"""Images of people's own: read from their files, augmented as others do it, and one line says which one is bad."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from hwnas.training import pictures
from hwnas.training.datasets import download, open_dataset
from hwnas.training.datasets.cifar10 import CIFAR10
from hwnas.training.mixing import mixed
from hwnas.training.pictures import MEAN, STD, cut
from hwnas.training.torchvision import transforms
from profilers.errors import InvalidInputError, UnknownNameError

from ..image_files import CIFAR10_CLASSES, skip_without_torchvision, write_cifar10, write_folders


@pytest.fixture(autouse=True)
def torchvision():
    skip_without_torchvision()


def pixels(images):
    """Images (B, 3, H, W) as the bytes they were, (B, H, W, 3)."""
    return np.rint((images.transpose(0, 2, 3, 1) * STD + MEAN) * 255).astype(np.uint8)


def test_cifar_images_and_labels_are_those_of_the_file(tmp_path):
    dataset = open_dataset(f"cifar10:{write_cifar10(tmp_path, images=20)}")
    assert dataset.classes == CIFAR10_CLASSES and dataset.shape == (3, 32, 32)
    images, labels = dataset.images("test", 0, 20)
    records = np.fromfile(tmp_path / "cifar-10-batches-bin" / "test_batch.bin", np.uint8).reshape(20, 3073)
    of_file = {record[1:].reshape(3, 32, 32).transpose(1, 2, 0).tobytes(): record[0] for record in records}
    assert [of_file[image.tobytes()] for image in pixels(images)] == labels.tolist()


def test_the_splits_share_no_image_and_hold_every_class(tmp_path):
    dataset = open_dataset(f"cifar10:{write_cifar10(tmp_path)}", hw=32)
    raw = {split: [source[n] for n in range(len(source))] for split, source in dataset.sources.items()}
    assert [len(raw[split]) for split in ("train", "validation", "test")] == [450, 50, 100]
    seen = {split: {image.tobytes() for image, _ in images} for split, images in raw.items()}
    assert sum(map(len, seen.values())) == 600 == len(set.union(*seen.values()))
    assert all(np.bincount([label for _, label in raw["validation"]]) == 5)


def test_what_is_validated_on_does_not_depend_on_the_seed(tmp_path):
    name = f"cifar10:{write_cifar10(tmp_path)}"
    (one, _), (other, _) = (open_dataset(name, seed).batch("validation", 0, 9) for seed in (1, 2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_share_of_each_class_is_cut_off(share):
    labels = np.repeat(np.arange(4), [2, 10, 100, 11])
    train, judged = cut(labels, ("a", "b", "c", "d"), share, Path("here"))
    assert sorted([*train, *judged]) == list(range(123))
    for label, count in enumerate((2, 10, 100, 11)):
        expected = min(max(1, round(Fraction(share).limit_denominator(100) * count)), count - 1)
        assert (labels[judged] == label).sum() == expected


@pytest.mark.parametrize(("hw", "randaugment"), [(24, False), (24, True), (32, True)])
def test_training_images_are_what_torchvisions_transforms_make_of_them(tmp_path, hw, randaugment):
    v2 = transforms()
    dataset = open_dataset(f"imagefolder:{write_folders(tmp_path, 'train', 'val', each=10)}", seed=3, hw=hw)
    dataset = dataset.randaugmented() if randaugment else dataset
    images, labels = dataset.batch("train", 5, 4)
    change = v2.Compose(
        [v2.RandomResizedCrop(hw), v2.RandomHorizontalFlip(), *([v2.RandAugment()] if randaugment else [])]
    )
    scale = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    order = pictures._order(len(dataset.sources["train"]), 3, 0, 0)
    for place, number in enumerate(range(20, 24)):
        image, label = dataset.sources["train"][int(order[number])]
        torch.manual_seed(pictures._seed_of(3, 0, number))
        assert np.abs(scale(change(image)).numpy() - images[place]).max() < 1e-5 and label == labels[place]


def test_judged_is_the_middle_of_an_image(tmp_path):
    v2 = transforms()
    dataset = open_dataset(f"imagefolder:{write_folders(tmp_path, 'train', 'val', each=10)}", hw=28)
    image, _ = dataset.sources["test"][int(pictures._order(40, 0, 2, 0)[0])]
    expected = np.asarray(v2.Compose([v2.Resize(32), v2.CenterCrop(28)])(image))
    assert np.array_equal(pixels(dataset.batch("test", 0, 1)[0])[0], expected)


def test_small_images_are_judged_whole_and_trained_on_moved_and_mirrored(tmp_path):
    dataset = open_dataset(f"cifar10:{write_cifar10(tmp_path)}")
    originals = {label: [] for label in range(10)}
    for image, label in (dataset.sources["train"][n] for n in range(450)):
        originals[label].append(np.asarray(image))
    images, labels = dataset.batch("train", 0, 12)
    for image, label in zip(pixels(images), labels, strict=True):
        middle = image[8:24, 8:24]
        windows = [np.lib.stride_tricks.sliding_window_view(o, (16, 16), (0, 1)) for o in originals[label]]
        looks = (middle, middle[:, ::-1])
        assert any((w == look.transpose(2, 0, 1)).all(axis=(2, 3, 4)).any() for w in windows for look in looks)


def test_where_three_splits_are_there_they_are_taken_as_they_are(tmp_path):
    dataset = open_dataset(f"imagefolder:{write_folders(tmp_path, 'train', 'val', 'test', each=6)}", hw=16)
    for split, part in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert {Path(path).parent.parent.name for path in dataset.sources[split].paths} == {part}
        assert dataset.count(split) == 24
    assert dataset.classes == ("class-0", "class-1", "class-2", "class-3")


def test_grey_transparent_and_indexed_images_are_taken_as_colour(tmp_path):
    from PIL import Image

    write_folders(tmp_path, "train", "val", each=2)
    for number, mode in enumerate(("L", "RGBA", "P", "CMYK")):
        path = next((tmp_path / "val" / f"class-{number}").iterdir())
        suffix = ".jpg" if mode == "CMYK" else ".png"
        Image.open(path).convert(mode).save(path.with_name(f"other{suffix}"))
    images, _ = (dataset := open_dataset(f"imagefolder:{tmp_path}", hw=16)).images("test", 0, 12)
    assert images.shape == (12, 3, 16, 16) and dataset.count("test") == 12


def bad_folders(tmp_path):
    """What is wrong with a folder, by what is done to a good one."""
    root = write_folders(tmp_path, "train", "val", each=3, classes=2)
    first = root / "train" / "class-0"
    files = sorted(first.iterdir())
    return {
        "no train": (lambda: (root / "train").rename(root / "other"), "wants CLASS/.*jpg or train/CLASS"),
        "no val": (lambda: (root / "val").rename(root / "other"), "has no val"),
        "one class": (lambda: (root / "train" / "class-1").rename(root / "other"), "only one class, class-0"),
        "no classes": (lambda: [path.rename(root / path.name) for path in (root / "train").iterdir()], "no classes"),
        "empty class": (lambda: [path.unlink() for path in files], "holds no images of 1 classes: class-0"),
        "one image": (lambda: [path.unlink() for path in files[1:]], "class-0 has 1 image"),
        "foreign class": ((root / "val" / "unheard").mkdir, "a class that train lacks: unheard"),
        "text": (lambda: [path.write_text("no image") for path in files], r"\d+\.png is no image"),
        "cut off": (lambda: [path.write_bytes(path.read_bytes()[:2000]) for path in files], r"\d+\.png is damaged"),
    }  # fmt: skip


@pytest.mark.parametrize("what", [
    "no train", "no val", "one class", "no classes", "empty class", "one image", "foreign class", "text", "cut off",
])  # fmt: skip
def test_bad_images_are_answered_with_one_line_that_names_them(tmp_path, what):
    spoil, wanted = bad_folders(tmp_path)[what]
    spoil()
    with pytest.raises(InvalidInputError, match=wanted) as found:
        open_dataset(f"imagefolder:{tmp_path}", hw=16).images("train", 0, 4)
    assert str(tmp_path) in str(found.value) and "\n" not in str(found.value)


def test_a_folder_that_is_not_named_or_not_there_is_refused(tmp_path):
    for name, wanted in (("imagefolder", "imagefolder:FOLDER"), ("imagefolder:", "imagefolder:FOLDER")):
        with pytest.raises(InvalidInputError, match=wanted):
            open_dataset(name)
    with pytest.raises(InvalidInputError, match="nowhere"):
        open_dataset(f"imagefolder:{tmp_path / 'nowhere'}")
    with pytest.raises(InvalidInputError, match="drawn, not read"):
        open_dataset("digit-pairs:somewhere")


@pytest.mark.parametrize(
    ("file", "change", "wanted"),
    [
        ("data_batch_3.bin", lambda content: content[:-1], "cut off or foreign"),
        ("test_batch.bin", lambda _: b"", "cut off or foreign"),
        ("data_batch_1.bin", lambda content: b"\x0a" + content[1:], "a label above 9"),
        ("batches.meta.txt", lambda _: b"", "has no classes: two or more"),
        ("batches.meta.txt", lambda _: b"cat\x1b[2J\nb\n", "control character"),
        ("data_batch_4.bin", lambda content: content[: 3073 * 60], "has 60 images, data_batch_1.bin has 100"),
        ("batches.meta.txt", lambda _: b"a\nb\na\n", "each once"),
        ("batches.meta.txt", lambda _: b"\xff\xfe\xff", "cannot be read"),
        ("data_batch_5.bin", None, "cannot be read: No such file"),
    ],
)
def test_a_damaged_cifar_is_refused_by_name(tmp_path, file, change, wanted):
    path = write_cifar10(tmp_path) / "cifar-10-batches-bin" / file
    content = path.read_bytes()
    path.unlink()
    if change:
        path.write_bytes(change(content))
    with pytest.raises(InvalidInputError, match=wanted) as found:
        open_dataset(f"cifar10:{tmp_path}")
    assert file in str(found.value)


def test_cifar_that_is_not_there_or_too_small_is_answered_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=r"data/cifar-10-batches-bin is not there: .*--download"):
        open_dataset("cifar10")
    write_cifar10(tmp_path / "data")
    assert open_dataset("cifar10").name == "cifar10"
    with pytest.raises(InvalidInputError, match="smaller than the 33 wanted"):
        open_dataset("cifar10", hw=33)


def test_nothing_is_downloaded_twice_and_only_what_can_be(tmp_path, monkeypatch):
    def refused(*_):
        raise AssertionError("the network is not wanted")

    monkeypatch.setattr("urllib.request.urlopen", refused)
    download(f"cifar10:{write_cifar10(tmp_path)}")
    with pytest.raises(InvalidInputError, match="digit-pairs cannot be downloaded"):
        download("digit-pairs")
    with pytest.raises(UnknownNameError):
        download("mnist")


def test_a_download_that_is_not_the_authors_archive_is_refused_and_not_unpacked(tmp_path):
    transforms()
    (tmp_path / CIFAR10.archive).write_bytes(b"something else")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.datasets.utils._urlretrieve", lambda *_args, **_: None)
        patch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)
        with pytest.raises(InvalidInputError, match="cannot be downloaded"):
            download(f"cifar10:{tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == [CIFAR10.archive]


def test_mixup_is_torchvisions():
    v2 = transforms()
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 4
    targets = torch.nn.functional.one_hot(labels, 4).float()
    found, blended = mixed(images, targets, 0.4, np.random.default_rng(7))
    share = float(np.random.default_rng(7).beta(0.4, 0.4))
    theirs = v2.MixUp(alpha=0.4, num_classes=4)
    expected = theirs.transform(images, {"lam": share, "labels": labels, "batch_size": 6})
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(blended, theirs.transform(labels, {"lam": share, "labels": labels, "batch_size": 6}))
    torch.testing.assert_close(blended.sum(dim=1), torch.ones(6))
