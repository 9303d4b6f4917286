"""Whole files, replaced atomically: they hold what they held before or what they are to hold, whatever happens."""

import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from profilers.errors import InvalidInputError

ABANDONED_S = 60.0  # a temporary file that was not written to for so long, of a process that is gone, is removed


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path`: it holds either what it held before or all of `content`, whatever happens.

    A file that is there keeps its permissions, and a symbolic link its place: what it points to is replaced. When
    this returns, the disk has the content and the name. Raises InvalidInputError.
    """
    with reported(path):
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                with suppress(FileNotFoundError):
                    temporary.chmod(target.stat().st_mode & 0o7777)
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder's files, where the file system can be asked for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn errors of writing `path` into InvalidInputError."""
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}; what it held before is intact") from error


def _sweep(target: Path) -> None:
    """Remove what processes that were killed left of this file; others on this file system may have their own pids."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        pid = left.name.removeprefix(f".{target.name}.").removesuffix(".tmp")
        with suppress(OSError):
            if pid.isdecimal() and not _alive(int(pid)) and time.time() - left.stat().st_mtime > ABANDONED_S:
                left.unlink()


def _alive(pid: int) -> bool:
    if os.name != "posix":  # where signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True
