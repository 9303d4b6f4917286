"""Images in folders, as ImageNet's: `imagefolder:FOLDER` with FOLDER/train/CLASS/*.jpg and FOLDER/val/CLASS/*.jpg.

FOLDER/test is the test split if it is there, and FOLDER/val (or valid, validation) the validation split. If only one of
them is, it is the test split, and a tenth of each class in FOLDER/train becomes the validation split. Where there is
none of these and no FOLDER/train, FOLDER/CLASS/*.jpg is split: a tenth of each class for validation, another for
testing, chosen by digests of the files' names. Hidden files and folders are not looked at; folders in a class's folder,
and links to folders, are.
"""

import hashlib
import json
import os
import re
import stat
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hwnas.training.class_names import check_class_names, listed
from hwnas.training.datasets import Facts, Split
from hwnas.training.image_scan import ImageFile, Scan, scan, told, tolerated
from profilers.errors import InvalidInputError, first_line

if TYPE_CHECKING:
    from hwnas.training.pictures import Pictures  # imports torch, which a list of data sets needs not wait for

HW: Final = 224
FACTS: Final = Facts(spelling="imagefolder:FOLDER", channels=3, hw=HW, classes=None)
SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff"))
LOOKED_FOR: Final = f"(looked for {', '.join(sorted(SUFFIXES))})"
VALIDATION_NAMES: Final = ("val", "valid", "validation")
PUT_THERE: Final = frozenset(("__MACOSX", "@eaDir"))  # beside hidden ones, by archivers and file servers
SPLIT_LIKE: Final = re.compile(r"(.*[_ -])?(train|test|val|valid|dev|eval)(ing|idation|uation)?", re.IGNORECASE)
VALIDATION_SHARE: Final = 0.1
DECODED_SIDES: Final = 4  # large JPEGs are decoded at a size of at least so many times what is wanted


class DataWarning(UserWarning):
    """Images are used in another way than their files suggest, or some of them are not."""


class _UnreadableError(Exception):
    """A file that cannot be decoded, though it began and ended like an image."""


@dataclass(frozen=True)
class Files:
    """Image files and their labels: a `Source`."""

    paths: tuple[str, ...]  # not Path: millions of them go to other processes
    labels: NDArray[np.int64]
    hw: int  # height and width wanted
    unreadable: set[int] = field(default_factory=set, compare=False)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> tuple[Any, int]:
        """The decoded image and its label; for one that cannot be decoded stands the next one, always the same.

        Raises InvalidInputError if more of them turn out so than are tolerated.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        while True:
            try:
                return self._decoded(index), int(self.labels[index])
            except _UnreadableError as error:
                self._note(index, error)
                index = (index + 1) % len(self)

    def rows(self, rows: NDArray[np.intp]) -> "Files":
        """Some of them."""
        return Files(tuple(self.paths[row] for row in rows), self.labels[rows], self.hw)

    def _decoded(self, index: int) -> Any:
        from PIL import Image

        try:
            with Image.open(self.paths[index]) as image:
                # A JPEG of many megapixels is decoded at a half, a quarter or an eighth of its size, which is enough.
                image.draft("RGB", (DECODED_SIDES * self.hw, DECODED_SIDES * self.hw))
                image.load()
        except Exception as error:  # what damaged bytes make decoders raise has no common type
            raise _UnreadableError(first_line(error)) from error
        return _upright(image)

    def _note(self, index: int, error: Exception) -> None:
        """Tell of an unreadable file, once; in processes that only prepare batches nobody is there to tell."""
        if index in self.unreadable:
            return
        self.unreadable.add(index)
        if len(self.unreadable) > tolerated(len(self)):
            names = listed(self.paths[number] for number in sorted(self.unreadable))
            raise InvalidInputError(
                f"{len(self.unreadable)} of {len(self)} images cannot be decoded ({error}), and at most "
                f"{tolerated(len(self))} are left out: {names}: mend or remove them"
            )
        if parent_process() is None:
            warnings.warn(f"{self.paths[index]} cannot be decoded ({error}): left out", DataWarning, stacklevel=4)


def build(seed: int, hw: int | None, place: str) -> "Pictures":
    """The images below the folder `place`; raises InvalidInputError if they are not laid out as said above."""
    from hwnas.training.pictures import CROP_SHARE, Pictures

    if not place:
        raise InvalidInputError("imagefolder wants a folder: give it as imagefolder:FOLDER")
    name, root, side = f"imagefolder:{place}", Path(place), hw or HW
    parts = _parts(root, name)
    classes = _classes(parts["train"])
    files = {part: _files(root, folder, classes) for part, folder in parts.items()}
    every = [file for of_part in files.values() for file, _ in of_part]
    found = scan(root, every)
    _tell(name, side, found, every, split=parts["train"] == root)
    sides = found.sides[found.usable]
    return Pictures(
        name=name,
        classes=classes,
        sources=_splits(root, _usable(files, found, side), classes),
        shape=(3, side, side),
        seed=seed,
        # Of images that are about as small as wanted nothing can be cut off, as CIFAR's.
        small=bool(np.median(sides) < side / CROP_SHARE),
        listing=_digest(classes, every),
    )


def _parts(root: Path, name: str) -> dict[str, Path]:
    """The folders of the splits that there are, by `train`, `val` and `test`; `train` alone if it is all of `root`."""
    if _is_bare(root):
        return {"train": root}
    if not (root / "train").is_dir():
        raise InvalidInputError(f"{root / 'train'} is no folder: {name} wants CLASS/*.jpg or train/CLASS/*.jpg in it")
    judged = [root / of for of in VALIDATION_NAMES if (root / of).is_dir()]
    if len(judged) > 1:
        raise InvalidInputError(f"{root} has both {judged[0].name} and {judged[1].name}: rename one of them")
    found = {"train": root / "train", **({"val": judged[0]} if judged else {})}
    found |= {"test": root / "test"} if (root / "test").is_dir() else {}
    if len(found) == 1:
        raise InvalidInputError(f"{root} has no val: {name} wants images to judge by in {root / 'val'}")
    for folder in found.values():
        entries = _entries(folder)
        if not any(entry.is_dir() for entry in entries) and any(_image_name(entry.name) for entry in entries):
            raise InvalidInputError(
                f"{folder} has images but no class folders, so nothing says what they show: move each into "
                f"{folder / 'CLASS'}, or {folder} elsewhere if they are not labelled"
            )
    return found


def _is_bare(root: Path) -> bool:
    """Whether the folders in `root` are classes; raises InvalidInputError for splits under names of other people's.

    `Train`, or `seg_train` beside `seg_test`, is a split; `bullet train` beside `bus` is a class.
    """
    folders = [entry.name for entry in _entries(root) if entry.is_dir()] if root.is_dir() else []
    if any(name in (*VALIDATION_NAMES, "train", "test") for name in folders):
        return False
    alike = [found for name in folders if (found := SPLIT_LIKE.fullmatch(name))]
    if len({found[2].lower() for found in alike}) > 1 or not all(found[1] for found in alike):
        names = ", ".join(sorted(_shown(found[0]) for found in alike))
        raise InvalidInputError(f"{root} has splits under other names, {names}: call them train, val and test")
    return bool(folders)


def _splits(root: Path, found: dict[str, Files], classes: tuple[str, ...]) -> dict[Split, Files]:
    from hwnas.training.pictures import cut

    if len(found) == 1:
        return _split_by_name(root, found["train"], classes)
    if len(found) == 3:
        return {"train": found["train"], "validation": found["val"], "test": found["test"]}
    train, judged = cut(found["train"].labels, classes, VALIDATION_SHARE, root / "train")
    test = found["test"] if "test" in found else found["val"]
    return {"train": found["train"].rows(train), "validation": found["train"].rows(judged), "test": test}


def _split_by_name(root: Path, files: Files, classes: tuple[str, ...]) -> dict[Split, Files]:
    """A tenth of each class for validation and another for testing, at least one image; the same ones everywhere.

    Raises InvalidInputError for a class of fewer than three images.
    """
    names = (os.path.relpath(path, root).replace(os.sep, "/") for path in files.paths)
    digests = [hashlib.sha256(os.fsencode(_composed(name))).digest() for name in names]
    parts: dict[Split, list[int]] = {"train": [], "validation": [], "test": []}
    for label, name in enumerate(classes):
        rows = sorted(np.flatnonzero(files.labels == label).tolist(), key=digests.__getitem__)
        if len(rows) < len(parts):
            raise InvalidInputError(
                f"{root / name} has {len(rows)} images that can be used, and at least 3 are needed: to train on, to "
                "validate and to test"
            )
        judged = max(1, round(VALIDATION_SHARE * len(rows)))
        parts["test"] += rows[:judged]
        parts["validation"] += rows[judged : 2 * judged]
        parts["train"] += rows[2 * judged :]
    return {split: files.rows(np.array(sorted(rows), np.intp)) for split, rows in parts.items()}


def _classes(folder: Path) -> tuple[str, ...]:
    found = tuple(sorted(_composed(entry.name) for entry in _entries(folder) if entry.is_dir()))
    check_class_names(found, str(folder))
    return found


def _files(root: Path, folder: Path, classes: tuple[str, ...]) -> list[tuple[ImageFile, int]]:
    """All files of a split that are named like images, with their labels, by class and name.

    A class may lack where it is only judged.
    """
    of_class = {_composed(entry.name): entry.path for entry in _entries(folder) if entry.is_dir()}
    foreign = sorted(of_class.keys() - set(classes))
    if foreign:
        raise InvalidInputError(f"{folder} has a class that train lacks: {listed(map(_shown, foreign))}")
    found = {name: sorted(_below(of_class[name], root), key=lambda file: file.path) for name in of_class}
    empty = [name for name in classes if not found.get(name)]
    if len(empty) == len(classes):
        raise InvalidInputError(f"{folder} holds no images {LOOKED_FOR}")
    if empty and (folder.name == "train" or folder == root):
        raise InvalidInputError(
            f"{folder} holds no images of {len(empty)} classes: {listed(empty)} {LOOKED_FOR}: fill or remove them"
        )
    return [(file, label) for label, name in enumerate(classes) for file in found.get(name, [])]


def _below(folder: str, root: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[ImageFile]:
    """What is named like an image in a folder and in those within it; links that lead back up are not followed."""
    here = Path(folder).stat()
    if (here.st_dev, here.st_ino) in above:
        return
    for entry in _entries(Path(folder)):
        if entry.is_dir():
            yield from _below(entry.path, root, above | {(here.st_dev, here.st_ino)})
        elif _image_name(entry.name):
            try:
                size, mtime_ns, mode = (found := entry.stat()).st_size, found.st_mtime_ns, found.st_mode
            except OSError:
                size, mtime_ns, mode = 0, 0, 0
            relative = os.path.relpath(entry.path, root).replace(os.sep, "/")
            yield ImageFile(entry.path, relative, size, mtime_ns, stat.S_ISREG(mode))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.name not in PUT_THERE]
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be read: {error.strerror}") from error


def _image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - millions of them


def _composed(name: str) -> str:
    """A name as most systems write it: macOS keeps accents apart from their letters."""
    return unicodedata.normalize("NFC", name)


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _usable(files: dict[str, list[tuple[ImageFile, int]]], found: Scan, hw: int) -> dict[str, Files]:
    """The files of each part without those that cannot be used."""
    parts, begin, good = {}, 0, found.sides > 0
    for part, of_part in files.items():
        kept = [both for both, usable in zip(of_part, good[begin:], strict=False) if usable]
        begin += len(of_part)
        labels = np.array([label for _, label in kept], np.int64)
        parts[part] = Files(tuple(file.path for file, _ in kept), labels, hw)
    return parts


def _digest(classes: tuple[str, ...], files: list[ImageFile]) -> str:
    """Of the names of classes and files and the files' sizes; not of what is in them."""
    facts = [classes, [(file.relative, file.bytes) for file in files]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _tell(name: str, hw: int, found: Scan, files: list[ImageFile], *, split: bool) -> None:
    """One line of all that is unusual."""
    small = int(((found.sides > 0) & (found.sides < hw)).sum())
    facts = [f"{len(found.faults)} cannot be used and are left out ({told(found, files)})"] if found.faults else []
    facts += [f"{small} are smaller than {hw} pixels and are enlarged"] if small else []
    facts += ["a tenth of each class is kept for validation and another for testing"] if split else []
    if facts:
        warnings.warn(f"{name}: of {len(files)} images {', '.join(facts)}", DataWarning, stacklevel=4)


def _upright(image: Any) -> Any:
    """An image turned as its camera says it was held."""
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # the pixels are sound, whatever the damaged notes of a camera make Pillow raise
        return image
    return image
