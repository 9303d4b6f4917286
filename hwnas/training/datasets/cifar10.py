"""CIFAR-10 (Krizhevsky 2009) in its authors' binary form: `cifar10:FOLDER`; `cifar10` alone looks in `data`.

The form with Python's pickles, which torchvision reads, is refused: opening a pickle runs what is in it.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hwnas.training.datasets import Facts
from profilers.errors import InvalidInputError

if TYPE_CHECKING:
    from hwnas.training.pictures import Pictures  # imports torch, which a list of data sets needs not wait for

DEFAULT_FOLDER: Final = "data"
URL: Final = "https://www.cs.toronto.edu/~kriz"
HW: Final = 32
FACTS: Final = Facts(spelling="cifar10[:FOLDER]", channels=3, hw=HW, classes=10)
VALIDATION_SHARE: Final = 0.1


@dataclass(frozen=True)
class Form:
    """How a data set of the family is stored: records of some labels, the last of which counts, and the pixels."""

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    class_names: str
    labels: int
    archive: str
    md5: str  # of the archive, as its authors publish it


@dataclass(frozen=True)
class Records:
    """Images in memory: a `Source`."""

    pixels: NDArray[np.uint8]  # (N, 32, 32, 3)
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> tuple[Any, int]:
        from PIL import Image

        return Image.fromarray(self.pixels[index]), int(self.labels[index])

    def rows(self, rows: NDArray[np.intp]) -> "Records":
        """Some of them."""
        return Records(self.pixels[rows], self.labels[rows])


CIFAR10: Final = Form(
    name="cifar10",
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test="test_batch.bin",
    class_names="batches.meta.txt",
    labels=1,
    archive="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)


def build(seed: int, hw: int | None, place: str) -> "Pictures":
    """CIFAR-10 from the folder `place`; see `read`."""
    return read(CIFAR10, seed, hw, place)


def download(place: str) -> None:
    """Fetch CIFAR-10 into the folder `place`; see `fetch`."""
    fetch(CIFAR10, place)


def read(form: Form, seed: int, hw: int | None, place: str) -> "Pictures":
    """The data set in the folder `place`, a tenth of its training images kept for validation.

    Raises InvalidInputError if it is not there, is damaged, or has smaller images than wanted.
    """
    from hwnas.training.pictures import Pictures, cut

    name = f"{form.name}:{place}" if place else form.name
    side, folder = hw or HW, Path(place or DEFAULT_FOLDER) / form.folder
    if side > HW:
        raise InvalidInputError(f"{name} has images of {HW}x{HW}, smaller than the {side} wanted: --resolution {HW}")
    if not folder.is_dir():
        raise InvalidInputError(
            f"{folder} is not there: unpack {URL}/{form.archive} in {folder.parent}, or give --download (the form with "
            "Python's pickles is not read)"
        )
    classes = _classes(folder / form.class_names)
    train = _records(form, [folder / file for file in form.train], classes)
    test = _records(form, [folder / form.test], classes)
    rows, judged = cut(train.labels, classes, VALIDATION_SHARE, folder)
    return Pictures(
        name=name,
        classes=classes,
        sources={"train": train.rows(rows), "validation": train.rows(judged), "test": test},
        shape=(3, side, side),
        seed=seed,
        small=True,
    )


def fetch(form: Form, place: str) -> None:
    """Download and unpack the archive, proven to be its authors', unless the data set is there already."""
    root = Path(place or DEFAULT_FOLDER)
    if (root / form.folder).is_dir():
        return
    from hwnas.training.torchvision import transforms

    transforms()  # so that torchvision is imported as it must be
    from torchvision.datasets.utils import download_url

    try:
        download_url(f"{URL}/{form.archive}", str(root), form.archive, form.md5)
        with tarfile.open(root / form.archive) as archive:
            archive.extractall(root, filter="data")
    except (OSError, RuntimeError, tarfile.TarError) as error:
        raise InvalidInputError(
            f"{URL}/{form.archive} cannot be downloaded ({error}): fetch it elsewhere, and unpack it in {root}"
        ) from error


def _classes(path: Path) -> tuple[str, ...]:
    try:
        classes = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path}, which names the classes, cannot be read ({error})") from error
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InvalidInputError(f"{path} does not name two or more classes, each once")
    return classes


def _records(form: Form, paths: list[Path], classes: tuple[str, ...]) -> Records:
    parts = []
    for path in paths:
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
        if not len(content) or len(content) % (form.labels + 3 * HW * HW):
            raise InvalidInputError(f"{path} is cut off or foreign: it does not consist of whole images")
        parts.append(content.reshape(-1, form.labels + 3 * HW * HW))
        if parts[-1][:, form.labels - 1].max() >= len(classes):
            raise InvalidInputError(f"{path} is damaged or foreign: it has a label above {len(classes) - 1}")
    records = np.concatenate(parts)
    pixels = records[:, form.labels :].reshape(-1, 3, HW, HW).transpose(0, 2, 3, 1)
    return Records(np.ascontiguousarray(pixels), records[:, form.labels - 1].astype(np.int64))
