"""A file is replaced as a whole, and what killed processes left beside it goes with the next one that writes it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from profilers import writing
from profilers.errors import InvalidInputError
from profilers.writing import write_atomically


@pytest.fixture(scope="module")
def gone() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(60)
    return process.pid


def left(path: Path, age_s: float) -> Path:
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_a_killed_process_left_of_this_file_is_removed_and_nothing_else(tmp_path: Path, gone: int) -> None:
    ours = left(tmp_path / f".f[1].{gone}.tmp", 3600)
    kept = [
        left(tmp_path / f".f1.{gone}.tmp", 3600),  # of another file
        left(tmp_path / f".f[1].x.{gone}.tmp", 3600),
        left(tmp_path / f".f[1].{os.getppid()}.tmp", 3600),  # of a process that lives
        left(tmp_path / f".f[1].{gone + 10**9}.tmp", 0),  # of another machine's, perhaps, which is at it
        left(tmp_path / ".f[1].mine.tmp", 3600),
    ]
    write_atomically(tmp_path / "f[1]", b"new")
    assert not ours.exists() and set(tmp_path.iterdir()) == {*kept, tmp_path / "f[1]"}


def test_the_disk_has_content_and_name_when_a_write_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def seen(descriptor: int) -> None:
        at = Path(f"/proc/self/fd/{descriptor}").resolve()
        done.append("folder" if at == tmp_path else at.read_text())
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> Path:
        done.append("replaced")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomically(tmp_path / "file", b"new")
    assert done == ["new", "replaced", "folder"]


def test_a_write_that_fails_before_the_end_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"old")
    inode = (tmp_path / "file").stat().st_ino

    def fails(_: int) -> None:
        assert (tmp_path / "file").read_bytes() == b"old"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(writing.os, "fsync", fails)
    with pytest.raises(InvalidInputError, match="Input/output error; what it held before is intact"):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old" and (tmp_path / "file").stat().st_ino == inode
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_links_stay_links_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"old")
    (tmp_path / "there" / "real").chmod(0o604)
    (tmp_path / "link").symlink_to("there/real")
    (tmp_path / "dangling").symlink_to("there/new")
    write_atomically(tmp_path / "link", b"new")
    write_atomically(tmp_path / "dangling", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "real").read_bytes() == b"new"
    assert (tmp_path / "there" / "real").stat().st_mode & 0o777 == 0o604
    assert (tmp_path / "dangling").is_symlink() and (tmp_path / "there" / "new").read_bytes() == b"new"
