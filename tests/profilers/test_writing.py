"""A file is replaced as a whole, and what killed processes left beside it goes with the next one that writes it."""

import os
import stat
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


def test_folders_that_are_not_there_yet_are_made_on_the_way(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "file", b"new")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"


def test_a_file_system_that_cannot_sync_a_folder_takes_files_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def of_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_nothing_is_left_open(tmp_path: Path) -> None:
    """A log that is begun and a bundle that is written many times must not use up what a process may open."""
    opened, close, open_ = [], os.close, os.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", lambda *how: opened.append(open_(*how)) or opened[-1])
        patch.setattr(os, "close", lambda descriptor: opened.remove(descriptor) or close(descriptor))
        write_atomically(tmp_path / "file", b"new")
    assert not opened


def test_what_was_left_and_cannot_be_removed_hinders_nobody(tmp_path: Path, gone: int) -> None:
    folder = tmp_path / f".file.{gone}.tmp"
    folder.mkdir()
    os.utime(folder, (time.time() - 3600,) * 2)
    write_atomically(tmp_path / "file", b"new")
    assert folder.is_dir() and (tmp_path / "file").read_bytes() == b"new"


def test_what_a_process_of_another_user_is_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_permitted(*_: int) -> None:
        raise PermissionError

    theirs = left(tmp_path / ".file.1.tmp", 3600)
    monkeypatch.setattr(os, "kill", not_permitted)
    write_atomically(tmp_path / "file", b"new")
    assert theirs.exists()


def test_links_stay_links_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"old")
    (tmp_path / "there" / "real").chmod(0o705)
    (tmp_path / "link").symlink_to("there/real")
    (tmp_path / "dangling").symlink_to("there/new")
    write_atomically(tmp_path / "link", b"new")
    write_atomically(tmp_path / "dangling", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "real").read_bytes() == b"new"
    assert (tmp_path / "there" / "real").stat().st_mode & 0o777 == 0o705
    assert (tmp_path / "dangling").is_symlink() and (tmp_path / "there" / "new").read_bytes() == b"new"
