"""Images in folders, as ImageNet has them: `imagefolder:PATH` with PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg.

PATH/test is the test split if it is there, and PATH/val the validation split. If only one of them is, it is the test
split, and a tenth of each class in PATH/train becomes the validation split.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hwnas.training.datasets import Facts, Split
from profilers.errors import InvalidInputError, first_line

if TYPE_CHECKING:
    from hwnas.training.pictures import Pictures  # imports torch, which a list of data sets needs not wait for

HW: Final = 224
FACTS: Final = Facts(spelling="imagefolder:FOLDER", channels=3, hw=HW, classes=None)
SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff"))
VALIDATION_SHARE: Final = 0.1


@dataclass(frozen=True)
class Files:
    """Image files and their labels: a `Source`."""

    paths: tuple[str, ...]  # not Path: millions of them go to other processes
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> tuple[Any, int]:
        """The decoded image and its label; raises InvalidInputError naming the file if it is none."""
        from PIL import Image

        path = self.paths[index]
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InvalidInputError(
                f"{path} is no image that can be read ({first_line(error)}): mend it or take it out"
            ) from error
        return image, int(self.labels[index])

    def rows(self, rows: NDArray[np.intp]) -> "Files":
        """Some of them."""
        return Files(tuple(self.paths[row] for row in rows), self.labels[rows])


def build(seed: int, hw: int | None, place: str) -> "Pictures":
    """The images below the folder `place`; raises InvalidInputError if they are not laid out as said above."""
    from hwnas.training.pictures import Pictures

    if not place:
        raise InvalidInputError("imagefolder wants a folder: give it as imagefolder:PATH")
    root = Path(place)
    if not (root / "train").is_dir():
        raise InvalidInputError(f"{root / 'train'} is no folder: imagefolder:{place} wants train/CLASS/*.jpg in {root}")
    classes = _classes(root / "train")
    found = {part: _files(root / part, classes) for part in ("train", "val", "test") if (root / part).is_dir()}
    if len(found) == 1:
        raise InvalidInputError(f"{root} has no val: imagefolder:{place} wants images to judge by in {root / 'val'}")
    side = hw or HW
    name = f"imagefolder:{place}"
    return Pictures(name=name, classes=classes, sources=_splits(root, found, classes), shape=(3, side, side), seed=seed)


def _splits(root: Path, found: dict[str, Files], classes: tuple[str, ...]) -> dict[Split, Files]:
    if len(found) == 3:
        return {"train": found["train"], "validation": found["val"], "test": found["test"]}
    from hwnas.training.pictures import cut

    train, judged = cut(found["train"].labels, classes, VALIDATION_SHARE, root / "train")
    test = found["test"] if "test" in found else found["val"]
    return {"train": found["train"].rows(train), "validation": found["train"].rows(judged), "test": test}


def _classes(folder: Path) -> tuple[str, ...]:
    found = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    if len(found) < 2:
        what = f"only one class, {found[0]}" if found else "no classes"
        raise InvalidInputError(f"{folder} has {what}: a folder for each of two or more classes is wanted")
    return found


def _files(folder: Path, classes: tuple[str, ...]) -> Files:
    """All images of a split, by class and name; a class may lack where it is only judged."""
    foreign = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in classes)
    if foreign:
        raise InvalidInputError(f"{folder} has a class that train lacks: {foreign[0]}")
    paths, labels = list[str](), list[int]()
    for label, name in enumerate(classes):
        of_class = sorted(str(path) for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not of_class and folder.name == "train":
            raise InvalidInputError(f"{folder / name} holds no images (looked for {', '.join(sorted(SUFFIXES))})")
        paths += of_class
        labels += [label] * len(of_class)
    if not paths:
        raise InvalidInputError(f"{folder} holds no images (looked for {', '.join(sorted(SUFFIXES))})")
    return Files(tuple(paths), np.array(labels, np.int64))
