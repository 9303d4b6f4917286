"""What was acknowledged survives a loss of power, and what is replaced is never half old and half new.

The disk is modelled: a file holds what it held when it was last synced, and a power failure leaves just that.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lut.storage import RecordLog, write_atomically
from profilers.errors import InvalidInputError

HEADER = {"format": "test-log", "version": 3}

OnDisk = Callable[[Path], bytes]


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> OnDisk:
    """What a loss of power would leave of a file: its content at the last sync, nothing if there was none."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux opens a file by its descriptor")
    kept: dict[tuple[int, int], bytes] = {}
    sync = os.fsync

    def record(file: int) -> None:
        sync(file)
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode):
            kept[found.st_dev, found.st_ino] = Path(f"/proc/self/fd/{file}").read_bytes()

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, record)
    return lambda path: kept.get((path.stat().st_dev, path.stat().st_ino), b"")


def test_a_record_is_on_the_disk_when_append_returns(tmp_path: Path, on_disk: OnDisk) -> None:
    path = tmp_path / "log"
    log = RecordLog.open(path, HEADER)
    assert on_disk(path) == path.read_bytes() != b""
    for n in range(3):
        log.append({"n": n, "long": "x" * 10_000})
        assert on_disk(path) == path.read_bytes()
        assert [record["n"] for record in RecordLog.read(path, "test-log", 3).records] == list(range(n + 1))


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_replacement_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, on_disk: OnDisk, monkeypatch: pytest.MonkeyPatch, old: bytes | None
) -> None:
    path, took_the_name = tmp_path / "file", []
    if old is not None:
        path.write_bytes(old)

    def moving(move: Callable[..., object]) -> Callable[..., object]:
        def moved(source: Path | str, target: Path | str, **more: object) -> object:
            assert on_disk(Path(source)) == b"new"
            took_the_name.append(Path(target))
            return move(source, target, **more)

        return moved

    for name in ("replace", "rename", "link"):
        monkeypatch.setattr(os, name, moving(getattr(os, name)))
    write_atomically(path, b"new")
    assert took_the_name == [path] and on_disk(path) == b"new"


def test_what_a_replaced_file_held_is_never_written_over(tmp_path: Path) -> None:
    """Whoever has the old file open, or under another name, keeps all of it: a file written in place would change."""
    path, other_name = tmp_path / "file", tmp_path / "other name"
    path.write_bytes(b"old" * 1000)
    os.link(path, other_name)
    with path.open("rb", buffering=0) as reader:
        beginning = reader.read(3)
        write_atomically(path, b"new")
        assert beginning + reader.read() == other_name.read_bytes() == b"old" * 1000
    assert path.read_bytes() == b"new"


def test_at_every_moment_a_replaced_file_is_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file", []
    path.write_bytes(b"old")
    for name in ("fsync", "replace", "unlink"):
        real = getattr(os, name)

        def looking(*arguments: object, real: Callable[..., object] = real, **more: object) -> object:
            seen.append(path.read_bytes())
            try:
                return real(*arguments, **more)
            finally:
                seen.append(path.read_bytes())

        monkeypatch.setattr(os, name, looking)
    write_atomically(path, b"new" * 1000)
    assert set(seen) == {b"old", b"new" * 1000}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_what_the_disk_did_not_take_is_reported_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Some file systems find out only when they sync that there is no room, or no disk any more."""
    path, file = tmp_path / "log", tmp_path / "file"
    log = RecordLog.open(path, HEADER)
    log.append({"n": 1})
    file.write_bytes(b"old")
    before = path.read_bytes()

    def refuse(_: int) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, refuse)
        for write in (lambda: log.append({"n": 2}), lambda: write_atomically(file, b"new")):
            with pytest.raises(InvalidInputError, match=f"cannot be written: {os.strerror(error)}"):
                write()
    assert path.read_bytes() == before and log.records == [{"n": 1}] and file.read_bytes() == b"old"
    assert {found.name for found in tmp_path.iterdir()} <= {"log", "log.lock", "file"}
    log.append({"n": 3})
    assert RecordLog.read(path, "test-log", 3).records == [{"n": 1}, {"n": 3}]
