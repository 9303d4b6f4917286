"""Files that survive a crash: append-only JSON lines with a header, and whole files replaced atomically."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import filelock

from profilers.errors import InvalidInputError, first_line, shown
from profilers.reading import plain_json, read_bytes
from profilers.writing import reported, write_atomically

__all__ = ["Record", "RecordLog", "TornRecordWarning", "write_atomically"]

Record = dict[str, Any]
MAX_LOG_BYTES = 1 << 30
BEGINNING_S = 30.0  # how long to wait for another process that begins the same log


class TornRecordWarning(UserWarning):
    """The last line of a log was cut off by a crash; it has been left out."""


class RecordLog:
    """An append-only file of JSON lines: a header that says what it is, then one record a line.

    Each record is on the disk (fsync) when `append` returns. A process killed in mid-write leaves a torn last
    line, which readers leave out with a warning and the next append cuts off. One process writes at a time: `append`
    outside of `writing` takes and gives back the right to, and takes in what others appended.
    """

    def __init__(self, path: Path, header: Record, records: list[Record], size: int, length: int) -> None:
        self.path, self.header, self.records = path, header, records
        self._size, self._length = size, length  # of whole lines, and with a torn one at the end
        self._lock = filelock.FileLock(path.with_name(path.name + ".lock"), thread_local=False)

    @classmethod
    def read(cls, path: Path, format: str, version: int) -> Self:
        """Read a log; raises InvalidInputError if it is unreadable, damaged, or of another format or version."""
        content = read_bytes(path, MAX_LOG_BYTES)
        size = content.rfind(b"\n") + 1
        lines = content[:size].splitlines()
        header = _parse(lines[0], path, 1) if lines else {}
        if header.get("format") != format:
            raise InvalidInputError(f"{path} is no {format} file: its first line does not say so")
        if header.get("version") != version:
            raise InvalidInputError(
                f"{path} has format version {shown(header.get('version'))}; this hwnas reads version {version}"
            )
        if size < len(content):
            warnings.warn(f"{path}: the last record was cut off and is left out", TornRecordWarning, stacklevel=2)
        records = [_parse(line, path, number) for number, line in enumerate(lines[1:], 2)]
        return cls(path, header, records, size, len(content))

    @classmethod
    def open(cls, path: Path, header: Record) -> Self:
        """Read the log at `path`, or start it with `header`, whose format and version the file must have."""
        if not path.exists():
            with reported(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            # Without the lock, the header of a process that saw no log replaces one with another's records in it.
            with _held(filelock.FileLock(path.with_name(path.name + ".lock")), path, BEGINNING_S):
                if not path.exists():
                    write_atomically(path, _line(header))
        return cls.read(path, header["format"], header["version"])

    def append(self, record: Record) -> None:
        """Write one record and wait until the disk has it; if that fails, the file is as it was before."""
        line = _line(record)
        if self._lock.is_locked:
            return self._append(record, line)
        with _held(self._lock, self.path, BEGINNING_S):
            with reported(self.path):
                grown = self.path.stat().st_size != self._length
            if grown:
                self._take_in()
            return self._append(record, line)

    def _append(self, record: Record, line: bytes) -> None:
        # Unbuffered: closing a buffer writes once more what has just failed, behind the place it was cut off at.
        with reported(self.path), self.path.open("r+b", buffering=0) as file:
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
        self._length = self._size
        self.records.append(record)

    @contextmanager
    def writing(self, wait_s: float = 0.0) -> Iterator[Self]:
        """Hold the right to append; raises InvalidInputError if another process still has it after `wait_s`.

        What other processes appended since the log was read is taken in first.
        """
        with _held(self._lock, self.path, wait_s):
            self._take_in()
            yield self

    def _take_in(self) -> None:
        """Read again what the file holds, others' records included."""
        now = self.read(self.path, self.header["format"], self.header["version"])
        self.records[:], self._size, self._length = now.records, now._size, now._length


@contextmanager
def _held(lock: filelock.BaseFileLock, path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock of a log; raises InvalidInputError if it is not to be had within `wait_s`."""
    try:
        held = lock.acquire(timeout=wait_s)
    except filelock.Timeout as error:
        raise InvalidInputError(
            f"{path} is being written by another hwnas process: wait for it to end, or stop it"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    with held:
        yield


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        record = plain_json(line)
    except ValueError as error:
        why = first_line(error)
        raise InvalidInputError(f"{path}, line {number}: not JSON ({why}); the file is damaged or foreign") from error
    if not isinstance(record, dict):
        raise InvalidInputError(f"{path}, line {number}: not a record; the file is damaged or foreign")
    return record


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise InvalidInputError(
            f"a record with an infinite number, or none, is not kept: {shown(str(record))}"
        ) from error
