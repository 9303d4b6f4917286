"""Files that survive a crash: append-only JSON lines with a header, and whole files replaced atomically."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import filelock

from profilers.errors import InvalidInputError

Record = dict[str, Any]


class TornRecordWarning(UserWarning):
    """The last line of a log was cut off by a crash; it has been left out."""


class RecordLog:
    """An append-only file of JSON lines: a header that says what it is, then one record a line.

    Each record is on the disk (fsync) when `append` returns. A process killed in mid-write leaves a torn last
    line, which readers leave out with a warning and the next append cuts off. One process writes at a time.
    """

    def __init__(self, path: Path, header: Record, records: list[Record], size: int) -> None:
        self.path, self.header, self.records = path, header, records
        self._size = size
        self._lock = filelock.FileLock(path.with_name(path.name + ".lock"))

    @classmethod
    def read(cls, path: Path, format: str, version: int) -> Self:
        """Read a log; raises InvalidInputError if it is unreadable, damaged, or of another format or version."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
        size = content.rfind(b"\n") + 1
        lines = content[:size].splitlines()
        header = _parse(lines[0], path, 1) if lines else {}
        if header.get("format") != format:
            raise InvalidInputError(f"{path} is no {format} file: its first line does not say so")
        if header.get("version") != version:
            raise InvalidInputError(
                f"{path} has format version {header.get('version')!r}; this hwnas reads version {version}"
            )
        if size < len(content):
            warnings.warn(f"{path}: the last record was cut off and is left out", TornRecordWarning, stacklevel=2)
        records = [_parse(line, path, number) for number, line in enumerate(lines[1:], 2)]
        return cls(path, header, records, size)

    @classmethod
    def open(cls, path: Path, header: Record) -> Self:
        """Read the log at `path`, or start it with `header`, whose format and version the file must have."""
        if not path.exists():
            write_atomically(path, _line(header))
        return cls.read(path, header["format"], header["version"])

    def append(self, record: Record) -> None:
        """Write one record and wait until the disk has it; if that fails, the file is as it was before."""
        line = _line(record)
        # Unbuffered: closing a buffer writes once more what has just failed, behind the place it was cut off at.
        with _reported(self.path), self.path.open("r+b", buffering=0) as file:
            file.truncate(self._size)
            file.seek(self._size)
            try:
                written = 0
                while written < len(line):  # a disk that fills up takes a part, and refuses only the next write
                    written += file.write(line[written:])
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._size)
                raise
        self._size += len(line)
        self.records.append(record)

    @contextmanager
    def writing(self, wait_s: float = 0.0) -> Iterator[Self]:
        """Hold the right to append; raises InvalidInputError if another process still has it after `wait_s`.

        What other processes appended since the log was read is taken in first.
        """
        try:
            held = self._lock.acquire(timeout=wait_s)
        except filelock.Timeout as error:
            raise InvalidInputError(
                f"{self.path} is being written by another hwnas process: wait for it to end, or stop it"
            ) from error
        except OSError as error:
            raise InvalidInputError(f"{self.path} cannot be written: {error.strerror}") from error
        with held:
            now = self.read(self.path, self.header["format"], self.header["version"])
            self.records[:], self._size = now.records, now._size
            yield self


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path`: it holds either what it held before or all of `content`, whatever happens."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}; what it held before is intact") from error


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InvalidInputError(f"{path}, line {number}: not JSON; the file is damaged or foreign") from error
    if not isinstance(record, dict):
        raise InvalidInputError(f"{path}, line {number}: not a record; the file is damaged or foreign")
    return record


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
