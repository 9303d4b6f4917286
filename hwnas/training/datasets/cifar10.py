"""CIFAR-10 (Krizhevsky 2009) in its authors' binary form: `cifar10:FOLDER`; `cifar10` alone looks in `data`.

The form with Python's pickles, which torchvision reads, is refused: opening a pickle runs what is in it.
"""

import hashlib
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hwnas.training.class_names import check_class_names
from hwnas.training.datasets import Facts
from profilers.errors import InvalidInputError
from profilers.reading import read_bytes

if TYPE_CHECKING:
    from hwnas.training.pictures import Pictures  # imports torch, which a list of data sets needs not wait for

DEFAULT_FOLDER: Final = "data"
URL: Final = "https://www.cs.toronto.edu/~kriz"
HW: Final = 32
FACTS: Final = Facts(spelling="cifar10[:FOLDER]", channels=3, hw=HW, classes=10)
VALIDATION_SHARE: Final = 0.1
MAX_BYTES: Final = 512 << 20  # of a file; the largest of the authors' has 154 MB
MAX_NAMES_BYTES: Final = 1 << 20


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
        # Names and labels tell one version from another; to read all pixels for that would take longer.
        listing=hashlib.sha256(
            "\n".join(classes).encode() + train.labels.tobytes() + test.labels.tobytes()
        ).hexdigest(),
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
        # Killed on the way, no half of the data set is left under its name.
        with tarfile.open(root / form.archive) as archive, tempfile.TemporaryDirectory(dir=root) as beside:
            archive.extractall(beside, filter="data")
            Path(beside, form.folder).replace(root / form.folder)
    except (OSError, RuntimeError, tarfile.TarError) as error:
        raise InvalidInputError(
            f"{URL}/{form.archive} cannot be downloaded ({error}): fetch it elsewhere, and unpack it in {root}"
        ) from error


def _classes(path: Path) -> tuple[str, ...]:
    try:
        text = read_bytes(path, MAX_NAMES_BYTES).decode()
    except ValueError as error:
        raise InvalidInputError(f"{path}, which names the classes, cannot be read ({error})") from error
    classes = tuple(line.strip() for line in text.split("\n") if line.strip())
    check_class_names(classes, str(path))
    return classes


def _records(form: Form, paths: list[Path], classes: tuple[str, ...]) -> Records:
    parts = []
    for path in paths:
        content = np.frombuffer(read_bytes(path, MAX_BYTES), np.uint8)
        if not len(content) or len(content) % (form.labels + 3 * HW * HW):
            raise InvalidInputError(f"{path} is cut off or foreign: it does not consist of whole images")
        parts.append(content.reshape(-1, form.labels + 3 * HW * HW))
        if len(parts[-1]) != len(parts[0]):
            raise InvalidInputError(
                f"{path} is cut off or foreign: it has {len(parts[-1])} images, {paths[0].name} has {len(parts[0])}"
            )
        if parts[-1][:, form.labels - 1].max() >= len(classes):
            raise InvalidInputError(f"{path} is damaged or foreign: it has a label above {len(classes) - 1}")
    records = np.concatenate(parts)
    pixels = records[:, form.labels :].reshape(-1, 3, HW, HW).transpose(0, 2, 3, 1)
    return Records(np.ascontiguousarray(pixels), records[:, form.labels - 1].astype(np.int64))
