"""What image files are, found out from all of them before any is used: which cannot be, and how small the others are.

Only headers and ends of files are read where these tell enough. What was found is kept in the user's cache folder, so a
second look at the same files (names, sizes and times of change) takes no time.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import platformdirs
from numpy.typing import NDArray

from hwnas.training.class_names import listed
from lut.storage import write_atomically
from profilers.errors import InvalidInputError, first_line
from profilers.reading import read_json

VERSION: Final = 1  # of the rules below: what was found by other ones is not used
MODES: Final = frozenset(
    ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "I;16L", "I;16B")
)  # that `pictures.as_colour` takes
MAX_PIXELS: Final = 80_000_000  # decoded, these take 240 MB
TOO_LARGE: Final = f"has more than {MAX_PIXELS // 10**6} million pixels"
UNUSABLE_SHARE: Final = 0.01  # of the files, which are left out; or
FEW, FEW_SHARE = 5, 0.1  # so many, if they are at most this share
THREADS: Final = 8  # mostly wait for the disk
TAIL_BYTES: Final = 4096
END_OF_JPEG: Final = b"\xff\xd9"


@dataclass(frozen=True)
class ImageFile:
    """A file that is named like an image."""

    path: str
    relative: str  # to the folder of the data set
    bytes: int
    mtime_ns: int
    regular: bool


@dataclass(frozen=True)
class Scan:
    """What was found of some files, in their order."""

    sides: NDArray[np.int64]  # the shorter side in pixels; 0 for files that cannot be used
    faults: dict[int, str]  # why a file cannot be used, by its number

    @property
    def usable(self) -> NDArray[np.intp]:
        """The numbers of the files that can be used."""
        return np.flatnonzero(self.sides > 0)


def tolerated(files: int) -> int:
    """How many of so many files may be left out because they cannot be used."""
    return max(int(UNUSABLE_SHARE * files), min(FEW, int(FEW_SHARE * files)))


def scan(root: Path, files: Sequence[ImageFile]) -> Scan:
    """Look at all files of the data set in `root`, or remember what was found.

    Raises InvalidInputError naming the first few that cannot be used, if these are more than are tolerated.
    """
    facts = [VERSION, MAX_PIXELS, [(file.relative, file.bytes, file.mtime_ns, file.regular) for file in files]]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    where = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    kept = platformdirs.user_cache_path("hwnas") / "image-scans" / f"{where}.json"
    found = _remembered(kept, digest, len(files))
    if found is None:
        found = _looked_at(files)
        record = {
            "digest": digest,
            "sides": found.sides.tolist(),
            "faults": {str(n): w for n, w in found.faults.items()},
        }
        with suppress(InvalidInputError):  # a cache that cannot be written costs time only
            write_atomically(kept, json.dumps(record).encode())
    if len(found.faults) > tolerated(len(files)):
        raise InvalidInputError(
            f"{len(found.faults)} of {len(files)} image files in {root} cannot be used, and at most "
            f"{tolerated(len(files))} are left out: {told(found, files)}: mend or remove them"
        )
    return found


def told(found: Scan, files: Sequence[ImageFile]) -> str:
    """The first few files that cannot be used, each with the reason."""
    return listed(f"{files[number].relative} {why}" for number, why in sorted(found.faults.items()))


def _remembered(kept: Path, digest: str, count: int) -> Scan | None:
    try:
        record = read_json(kept)
        if not isinstance(record, dict) or record["digest"] != digest:
            return None
        faults = {int(number): str(why) for number, why in record["faults"].items()}
        sides = np.array(record["sides"], np.int64)
    except (InvalidInputError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None  # whatever it is, it is no answer
    whole = sides.shape == (count,) and sides.min(initial=0) >= 0 and set(np.flatnonzero(sides == 0)) == set(faults)
    return Scan(sides, faults) if whole else None


def _looked_at(files: Sequence[ImageFile]) -> Scan:
    from PIL import Image

    # Pillow warns of files that are odd but can be read. Filters are of the whole process, so they reach the threads.
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        found = list(pool.map(_look, files))
    return Scan(
        np.array([side for side, _ in found], np.int64), {number: why for number, (_, why) in enumerate(found) if why}
    )


class _UnusableError(Exception):
    """Why an image cannot be used."""


def _look(file: ImageFile) -> tuple[int, str]:
    """The shorter side of an image, or 0 and why it cannot be used."""
    from PIL import Image, UnidentifiedImageError

    try:
        return _side(file), ""
    except _UnusableError as error:
        return 0, str(error)
    except UnidentifiedImageError:
        return 0, "is no image"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return 0, TOO_LARGE
    except Exception as error:  # what damaged bytes make decoders raise has no common type
        return 0, f"is damaged ({first_line(error)[:100]})"


def _side(file: ImageFile) -> int:
    from PIL import Image

    if not file.regular:
        raise _UnusableError("is no regular file, or a broken link")
    if not file.bytes:
        raise _UnusableError("is empty")
    with Image.open(file.path) as image:
        side = int(min(image.size))
        if image.width * image.height > MAX_PIXELS:
            raise _UnusableError(TOO_LARGE)
        if image.mode not in MODES:
            raise _UnusableError(f"has pixels of mode {image.mode}")
        if image.format == "PNG":
            image.verify()  # checksums of all its parts
        elif image.format not in ("JPEG", "MPO") or not _ends(file.path):
            image.draft("RGB", (1, 1))
            image.load()
    return side


def _ends(path: str) -> bool:
    """Whether a JPEG file ends as one does; of one that does not, it must be tried whether all of it is there."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        return END_OF_JPEG in file.read()
