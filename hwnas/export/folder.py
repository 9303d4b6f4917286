"""The folder of a bundle, replaced as a whole: a process killed at any moment leaves the old bundle or the new one.

The new files are written to a hidden folder beside it; then the two change places in one step, and what is hidden
afterwards is removed. Where a system cannot exchange folders, the old one is renamed first: a process killed between
the two renames leaves it whole under its hidden name, and the next process that reads or writes it renames it back.
Files that people put into the folder are taken over into the new one.
"""

import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from profilers.errors import InvalidInputError

WAIT_S = 60.0  # for another process that writes the same folder, which takes a second at most
OWN = re.compile(r"model\.[a-z0-9]+|labels\.txt|predict\.py|bundle\.json")  # everything else in a bundle is people's
_HIDDEN = re.compile(r"\.(.+)\.(?:new|old|[0-9]+)\.tmp")  # numbers: processes of earlier versions
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # the kernel, or its file system


def replace_folder(folder: Path, contents: Mapping[str, bytes], check: Callable[[], None] | None = None) -> None:
    """Let the folder, or the one it is a link to, hold `contents` by name in place of the bundle that it holds.

    Waits for other processes that write it; `check` may then refuse, by raising, to replace what is there. Raises
    InvalidInputError if the folder cannot be written; it is as it was then.
    """
    place = check_writable(folder)
    with _reported(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
    with _reported(folder), _writing(place, WAIT_S):
        _settle(place)
        if check is not None:
            check()
        new = _hidden(place, "new")
        try:
            _write(new, contents)
            _put(new, place)
        finally:
            _settle(place)


def check_writable(folder: Path) -> Path:
    """Where the folder is, links followed; raises InvalidInputError if a bundle cannot be written there.

    Nothing is created: this is for asking before hours of work.
    """
    with _reported(folder):
        place = Path(os.path.realpath(folder))
        if place.is_symlink():
            raise InvalidInputError(f"{folder} cannot be written: it is a link in a circle: remove it")
        if place.exists() and not place.is_dir():
            raise InvalidInputError(f"{folder} cannot be written: it is no folder: move it away")
        with suppress(FileNotFoundError, NotADirectoryError):
            _hidden(place, "new").lstat()  # a name may be too long
        above = next(parent for parent in place.parents if parent.exists())
        if not above.is_dir():
            raise InvalidInputError(f"{folder} cannot be written: {above} is no folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return place


def recover(bundles: Path) -> None:
    """Clear up what killed processes left in the folder of all bundles; what running ones write is left alone."""
    try:
        paths = list(bundles.iterdir())
    except OSError:  # nothing is there, or nothing can be seen
        return
    names = {match[1] for path in paths if (match := _HIDDEN.fullmatch(path.name))}
    linked = {Path(os.path.realpath(path)) for path in paths if path.is_symlink()}
    for place in {bundles / name for name in names} | {place for place in linked if any(_leftovers(place))}:
        with suppress(OSError, InvalidInputError), _writing(place, 0.0):  # who only reads may not be allowed to write
            _settle(place)


def _hidden(place: Path, role: str) -> Path:
    return place.with_name(f".{place.name}.{role}.tmp")


def _leftovers(place: Path) -> Iterator[Path]:
    """Hidden folders of one bundle."""
    for path in place.parent.iterdir() if place.parent.is_dir() else ():
        if (match := _HIDDEN.fullmatch(path.name)) and match[1] == place.name:
            yield path


def _settle(place: Path) -> None:
    """Bring back a bundle that was renamed and not replaced; remove everything else that is hidden, for good."""
    old = _hidden(place, "old")
    if old.exists() and not place.exists():
        old.rename(place)
    for leftover in list(_leftovers(place)):
        for path in list(leftover.iterdir()) if place.exists() else ():
            if not (OWN.fullmatch(path.name) or path.name.endswith(".tmp") or (place / path.name).exists()):
                path.rename(place / path.name)
        shutil.rmtree(leftover, ignore_errors=True)


def _write(new: Path, contents: Mapping[str, bytes]) -> None:
    new.mkdir()
    for name, content in contents.items():
        with (new / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync(new)


def _put(new: Path, place: Path) -> None:
    """Let `new` be at `place`, and what was there be hidden."""
    if not place.exists():
        new.rename(place)
    elif not _exchanged(new, place):
        place.rename(_hidden(place, "old"))
        new.rename(place)
    _sync(place.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc has it since 2.28
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _sync(folder: Path) -> None:
    """Wait until the disk has the names in a folder, where a system can do that."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def _writing(place: Path, wait_s: float) -> Iterator[None]:
    """Hold the right to write a bundle; raises InvalidInputError if another process still has it after `wait_s`."""
    try:
        with filelock.FileLock(place.with_name(f".{place.name}.lock"), timeout=wait_s):
            yield
    except filelock.Timeout as error:
        raise InvalidInputError(
            f"{place} is being written by another hwnas process: wait for it to end, or stop it"
        ) from error


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInputError(
            f"{folder} cannot be written: {error.strerror}; what it held before is intact"
        ) from error
