"""Folders of images as people have them: what is no image is left out, what cannot be used is told, all at once."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwnas.training import image_scan
from hwnas.training.datasets import imagefolder, open_dataset
from hwnas.training.datasets.imagefolder import DataWarning
from hwnas.training.image_scan import tolerated
from hwnas.training.pictures import as_colour
from profilers.errors import InvalidInputError

from ..image_files import skip_without_torchvision, write_folders

HW = 16


@pytest.fixture(autouse=True)
def torchvision():
    skip_without_torchvision()


@pytest.fixture
def root(tmp_path):
    return write_folders(tmp_path / "photos", "train", "val", each=30, classes=2, hw=20)


def opened(root, hw=HW):
    return open_dataset(f"imagefolder:{root}", hw=hw)


def refusal(root, hw=HW):
    with pytest.raises(InvalidInputError) as found:
        opened(root, hw)
    assert "\n" not in str(found.value) and len(str(found.value)) < 1000
    return str(found.value)


def names(dataset):
    return {Path(path).name for source in dataset.sources.values() for path in source.paths}


def test_hidden_files_and_folders_are_neither_classes_nor_images(root):
    before = opened(root)
    a_file = root / "train" / "class-0" / "000.png"
    for folder in (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir"):
        for place in (root / "train", root / "train" / "class-0", root / "val"):
            (place / folder).mkdir()
            (place / folder / "copy.png").write_bytes(a_file.read_bytes())
    for name in ("._000.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (root / "train" / "class-0" / name).write_bytes(b"no image")
        (root / "train" / name).write_bytes(b"no image")
    after = opened(root)
    assert after.classes == ("class-0", "class-1") and names(after) == names(before)
    assert after.listing == before.listing


def test_suffixes_in_capitals_nested_folders_links_and_accents_are_followed(root):
    train = root / "train"
    (train / "class-0" / "000.png").rename(train / "class-0" / "CAPITALS.PNG")
    deep = train / "class-0" / "2024" / "may"
    deep.mkdir(parents=True)
    (train / "class-0" / "001.png").rename(deep / "deep.png")
    (deep / "up").symlink_to(train / "class-0")  # without end, if it were followed
    outside = root.parent / "elsewhere"
    (train / "class-1").rename(outside)
    (train / "cafe\u0301 猫").symlink_to(outside)  # as macOS has accents
    (root / "val" / "class-1").rename(root / "val" / "caf\xe9 猫")
    dataset = opened(root)
    assert dataset.classes == ("caf\xe9 猫", "class-0")
    assert {"CAPITALS.PNG", "deep.png"} <= names(dataset) and len(names(dataset)) >= 30
    assert sum(len(source) for source in dataset.sources.values()) == 120


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_folder_of_validation_images_is_used_beside_one_of_test_images(root, name):
    (root / "val").rename(root / "test")
    write_folders(root, name, each=5, classes=2, hw=20)
    dataset = opened(root)
    assert [dataset.count(split) for split in ("train", "validation", "test")] == [60, 10, 60]


def test_two_folders_of_validation_images_are_refused(root):
    (root / "valid").mkdir()
    assert "has both val and valid: rename one of them" in refusal(root)


@pytest.mark.parametrize("part", ["val", "test", "train"])
def test_images_without_class_folders_are_refused_with_what_to_do(root, part):
    folder = root / part
    if folder.exists():
        folder.rename(root / "moved")
    folder.mkdir()
    Image.new("RGB", (20, 20)).save(folder / "ILSVRC2012_val_00000001.JPEG")
    found = refusal(root)
    assert f"{folder} has images but no class folders" in found and "move each into" in found


def test_all_empty_classes_are_named_at_once(root):
    for number in range(9):
        (root / "train" / f"empty-{number}").mkdir()
    found = refusal(root)
    assert "no images of 9 classes: empty-0, empty-1, empty-2, empty-3, empty-4 and 4 more" in found


@pytest.mark.parametrize("name", ["cat\nrun", "cat\x1b[31m", "a\u2028b", " ", b"\xff\xfe"], ids=ascii)
def test_a_class_whose_name_ends_a_line_or_commands_a_terminal_is_refused(root, name):
    os.mkdir(os.path.join(os.fsencode(root), b"train", os.fsencode(name)))  # noqa: PTH102, PTH118 - pathlib takes no bytes
    found = refusal(root)
    assert "cannot be the name of a class" in found and str(root / "train") in found and found.isprintable()


def test_what_can_be_used_of_a_folder_is_used_and_the_rest_is_told_in_one_line(tmp_path):
    root = write_folders(tmp_path, "train", "val", each=60, classes=2, hw=20)
    folder = root / "train" / "class-0"
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").symlink_to(root / "nowhere")
    (folder / "cut.png").write_bytes((folder / "000.png").read_bytes()[:-40])
    (folder / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (20, 9)).save(folder / "small.png")
    with pytest.warns(imagefolder.DataWarning) as told:
        dataset = opened(root)
    (line,) = (str(note.message) for note in told)
    assert "of 245 images 4 cannot be used and are left out" in line and "1 are smaller than 16 pixels" in line
    for name, why in (("pipe", "no regular file"), ("broken", "broken link"), ("cut", "damaged"), ("empty", "empty")):
        assert f"train/class-0/{name}." in line and why in line
    assert not names(dataset) & {"pipe.png", "broken.png", "cut.png", "empty.jpg"} and "small.png" in names(dataset)
    images, _ = dataset.images("train", 0, dataset.count("train"))
    assert np.isfinite(images).all()


def test_more_images_that_cannot_be_used_than_are_tolerated_are_refused_all_together(root):
    for number in range(12):
        (root / "train" / "class-0" / f"{number:03}.png").write_text("no image")
    found = refusal(root)
    assert "12 of 120 image files" in found and "at most 5 are left out" in found and "and 7 more" in found
    assert "train/class-0/000.png is no image" in found and "000" in found


def test_so_many_are_tolerated():
    assert [tolerated(files) for files in (1, 9, 10, 50, 120, 500, 1000, 10**6)] == [0, 0, 1, 5, 5, 5, 10, 10**4]


def test_a_second_look_at_the_same_files_opens_none_of_them(root, monkeypatch):
    first = opened(root)
    looked = []
    look = image_scan._look
    monkeypatch.setattr(image_scan, "_look", lambda file: looked.append(file.relative) or look(file))
    assert opened(root).listing == first.listing and not looked
    Image.new("RGB", (30, 30)).save(root / "train" / "class-0" / "000.png")
    assert opened(root).listing != first.listing and len(looked) == 120


def test_a_damaged_memory_of_a_scan_is_looked_up_anew(root):
    import platformdirs

    first = opened(root)
    folder = platformdirs.user_cache_path("hwnas") / "image-scans"
    for content in (b"", b"[]", b"{}", b'{"digest": 5}', b"\xff"):
        for kept in folder.iterdir():
            kept.write_bytes(content)
        assert opened(root).sources["train"].paths == first.sources["train"].paths


def test_an_image_that_cannot_be_decoded_though_its_ends_are_sound_is_replaced_the_same_way_every_time(
    root, monkeypatch
):
    def broken(self, index, decoded=imagefolder.Files._decoded):
        if Path(self.paths[index]).name in ("007.png", "008.png"):
            raise imagefolder._UnreadableError("of the test")
        return decoded(self, index)

    monkeypatch.setattr(imagefolder.Files, "_decoded", broken)
    with pytest.warns(imagefolder.DataWarning, match=r"00[78]\.png cannot be decoded \(of the test\): left out"):
        whole, labels = opened(root).images("train", 0, 54)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = opened(root)
        later = [again.images("train", start, start + 9) for start in range(45, -1, -9)][::-1]  # in another order
    assert np.array_equal(np.concatenate([images for images, _ in later]), whole)
    assert np.array_equal(np.concatenate([of for _, of in later]), labels)


def test_more_images_that_cannot_be_decoded_than_are_tolerated_end_the_run_with_one_line(root, monkeypatch):
    def broken(self, index):
        raise imagefolder._UnreadableError("of the test")

    monkeypatch.setattr(imagefolder.Files, "_decoded", broken)
    dataset = opened(root)
    warnings.simplefilter("ignore")  # until pytest puts its own back
    with pytest.raises(InvalidInputError, match="6 of 54 images cannot be decoded") as found:
        dataset.batch("train", 0, 1)
    assert "\n" not in str(found.value)


def saved(folder, mode, suffix, **options):
    """An image whose left half is dark and whose right half is light, in a mode."""
    grey = np.zeros((20, 20), np.uint8)
    grey[:, 10:] = 255
    image = Image.fromarray(grey)
    if mode.startswith("I"):
        image = Image.fromarray(grey.astype({"I": np.int32, "I;16": np.uint16}[mode]) * 256)
    elif mode != "L":
        image = image.convert(mode)
    image.save(folder / f"odd{suffix}", **options)
    return folder / f"odd{suffix}"


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [
        ("1", ".png", {}), ("L", ".jpg", {}), ("LA", ".png", {}), ("P", ".png", {}),
        ("P", ".png", {"transparency": b"\0"}),
        ("RGBA", ".webp", {"lossless": True}), ("CMYK", ".jpg", {}), ("CMYK", ".tif", {}), ("I;16", ".png", {}),
        ("I;16", ".tif", {}), ("I", ".tif", {}), ("RGB", ".bmp", {}), ("YCbCr", ".jpg", {"progressive": True}),
    ],
    ids=str,
)  # fmt: skip
def test_images_of_every_kind_are_taken_as_colour(root, mode, suffix, options):
    path = saved(root / "train" / "class-0", mode, suffix, **options)
    dataset = opened(root)
    source = next(s for s in dataset.sources.values() if str(path) in s.paths)
    image, _ = source[source.paths.index(str(path))]
    pixels = np.asarray(as_colour(image)).astype(int)
    assert pixels.shape == (20, 20, 3)
    assert pixels[:, :8].max() <= 40 and pixels[:, 12:].min() >= 160


def test_an_image_of_floating_point_numbers_is_told(root):
    Image.fromarray(np.zeros((20, 20), np.float32)).save(root / "train" / "class-0" / "float.tif")
    with pytest.warns(imagefolder.DataWarning, match="float.tif has pixels of mode F"):
        opened(root)


def test_an_image_is_turned_as_its_camera_says_and_one_with_damaged_notes_is_not(root):
    folder = root / "train" / "class-0"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (40, 20)).save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (40, 20)).save(folder / "odd.jpg", exif=b"Exif\0\0nonsense")
    source = imagefolder.Files((str(folder / "turned.jpg"), str(folder / "odd.jpg")), np.zeros(2, np.int64), 16)
    assert [source[number][0].size for number in (0, 1)] == [(20, 40), (40, 20)]
    opened(root)


def test_of_an_animation_the_first_image_is_taken(root):
    path = root / "train" / "class-0" / "moving.png"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    source = imagefolder.Files((str(path),), np.zeros(1, np.int64), 16)
    assert as_colour(source[0][0]).getpixel((3, 3)) == (255, 0, 0)
    opened(root)


def test_a_large_jpeg_is_decoded_small_and_an_image_above_the_limit_not_at_all(root, monkeypatch):
    folder = root / "train" / "class-0"
    Image.new("RGB", (800, 640)).save(folder / "large.jpg")
    image, _ = imagefolder.Files((str(folder / "large.jpg"),), np.zeros(1, np.int64), 16)[0]
    assert image.size == (100, 80)
    monkeypatch.setattr(image_scan, "MAX_PIXELS", 800 * 640 - 1)
    with pytest.warns(imagefolder.DataWarning, match="large.jpg has more than 80 million pixels"):
        opened(root)


def test_a_decompression_bomb_is_left_out_without_being_decoded(root):
    import struct
    import zlib

    def part(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for name, side in (("warned", 10_000), ("bomb", 60_000)):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        (root / "train" / "class-0" / f"{name}.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"\0")) + part(b"IEND", b"")
        )
    with pytest.warns(imagefolder.DataWarning, match=r"bomb.png has more than 80 .*warned.png has more than 80"):
        opened(root)


def test_small_images_are_trained_on_whole_and_enlarged_where_they_must_be(root):
    assert not opened(root, 16).small
    with pytest.warns(imagefolder.DataWarning, match="of 120 images 120 are smaller than 32 pixels and are enlarged"):
        dataset = opened(root, 32)
    assert dataset.small
    for split in ("train", "test"):
        images, _ = dataset.batch(split, 0, 4)
        assert images.shape == (4, 3, 32, 32) and np.isfinite(images).all()


@pytest.fixture
def bare(tmp_path):
    """Folders of classes and nothing else."""
    return write_folders(tmp_path / "photos", ".", each=30, classes=2, hw=20)


def bare_opened(folder):
    with pytest.warns(DataWarning, match="a tenth of each class is kept for validation and another for testing"):
        return opened(folder)


def test_bare_folders_of_classes_are_split_and_every_class_is_in_every_part(bare):
    dataset = bare_opened(bare)
    assert dataset.classes == ("class-0", "class-1")
    assert [dataset.count(split) for split in ("train", "validation", "test")] == [48, 6, 6]
    paths = [path for source in dataset.sources.values() for path in source.paths]
    assert len(set(paths)) == len(paths) == 60
    for source in dataset.sources.values():
        assert np.bincount(source.labels).tolist() == [len(source) // 2] * 2
        assert [Path(path).parent.name for path in source.paths] == [f"class-{label}" for label in source.labels]


def test_bare_folders_are_split_the_same_wherever_they_are_and_whatever_is_added_elsewhere(bare, tmp_path):
    def parts(root):
        dataset = bare_opened(root)
        return {
            split: [str(Path(path).relative_to(root)) for path in source.paths if "class-1" in path]
            for split, source in dataset.sources.items()
        }

    before = parts(bare)
    moved = bare.rename(tmp_path / "elsewhere")
    assert parts(moved) == before
    for number in range(40):
        Image.new("RGB", (20, 20), (number, 9, 9)).save(moved / "class-0" / f"more-{number}.png")
    assert parts(moved) == before and bare_opened(moved).listing


def test_a_class_of_two_images_cannot_be_split(bare):
    (bare / "few").mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (20, 20)).save(bare / "few" / f"{name}.png")
    with pytest.warns(DataWarning):
        assert "few has 2 images that can be used, and at least 3 are needed" in refusal(bare)
    (bare / "none").mkdir()
    assert "no images of 1 classes: none" in refusal(bare)


@pytest.mark.parametrize("name", ["Training", "seg_train", "TEST", "evaluation", "Val"])
def test_folders_named_like_splits_are_no_classes(bare, name):
    (bare / "class-1").rename(bare / name)
    (bare / "class-0").rename(bare / "seg_pred_test")
    assert "call them train, val and test" in refusal(bare)


def test_classes_may_end_in_the_name_of_a_split(bare):
    (bare / "class-1").rename(bare / "bullet train")
    (bare / "class-0").rename(bare / "steam_train")
    assert bare_opened(bare).classes == ("bullet train", "steam_train")


def test_a_bare_folder_goes_the_way_of_others_to_a_trained_supernet(hwnas, bare, tmp_path, no_settings):
    work = ("--space", "photos@0.1", "--resolution", "16", "--workspace", tmp_path / "work", "--json")
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a process of its own
        done = hwnas("train", *work, "--data", f"imagefolder:{bare}", "--steps", "1", "--batch", "8")
    assert done.code == 0, done.err
    assert "a tenth of each class is kept for validation and another for testing\n" in done.err
