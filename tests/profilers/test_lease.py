"""A device is held by one hwnas at a time; what a dead one left is ended and removed, and nothing else is."""

import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest

from profilers.errors import DeviceError, LostError
from profilers.patience import PatientShell, silent
from profilers.runners import lease
from profilers.runners.lease import Lease

from .local_shell import LocalShell

MINE, THEIRS = "a" * 16, "b" * 16
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def mine(board: LocalShell) -> Lease:
    return Lease(PatientShell(board, silent), MINE)


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def locked(board: LocalShell, owner: str, beat: str = "1") -> Path:
    lock = board.place / "lock"
    lock.mkdir(parents=True)
    (lock / "owner").write_text(f"{owner}\n")
    (lock / "beat").write_text(f"{beat}\n")
    return lock


def owner(board: LocalShell) -> str:
    return (board.place / "lock" / "owner").read_text().split()[0]


def test_the_lock_says_who_has_the_device(mine: Lease, board: LocalShell) -> None:
    mine.take()
    assert (board.place / "lock" / "owner").read_text() == f"{MINE} {platform.node()} {os.getpid()}\n"
    mine.beat()
    mine.beat()
    assert (board.place / "lock" / "beat").read_text() == "2\n"
    mine.release()
    assert not list(board.place.iterdir())


def test_a_device_that_another_process_of_this_machine_has_is_left_to_it(mine: Lease, board: LocalShell) -> None:
    """However long it says nothing: it may be writing models."""
    locked(board, f"{THEIRS} {platform.node()} {os.getppid()}")
    with pytest.raises(DeviceError, match=rf"in use by the hwnas on {platform.node()} \(process {os.getppid()}\)"):
        mine.take()
    mine.release()
    assert owner(board) == THEIRS


def test_a_device_that_this_process_has_already_is_not_taken_twice(mine: Lease, board: LocalShell) -> None:
    mine.take()
    with pytest.raises(DeviceError, match="in use by the hwnas"):
        Lease(board, THEIRS).take()
    assert owner(board) == MINE


def test_a_holder_on_another_machine_is_known_to_live_by_its_beat(mine: Lease, board: LocalShell) -> None:
    lock = locked(board, f"{THEIRS} laptop 77")
    board.before = lambda _: (lock / "beat").write_text(f"{len(board.calls)}\n") and None
    with pytest.raises(DeviceError, match=r"in use by the hwnas on laptop \(process 77\): wait until that has ended"):
        mine.take()


def test_a_holder_that_gives_the_device_back_is_waited_for(mine: Lease, board: LocalShell) -> None:
    locked(board, f"{THEIRS} laptop 77")
    board.before = lambda _: Lease(LocalShell(board.home), THEIRS).release() if len(board.calls) == 4 else None
    mine.take()
    assert owner(board) == MINE


@pytest.mark.parametrize("left", ["laptop 77", "", "no number"])
def test_a_holder_that_stays_silent_is_gone(mine: Lease, board: LocalShell, monkeypatch, left: str) -> None:
    monkeypatch.setattr(lease, "STALE_S", 0.2)
    locked(board, f"{THEIRS} {left}")
    mine.take()
    assert owner(board) == MINE


def test_a_lock_that_nobody_signed_is_not_for_ever(mine: Lease, board: LocalShell, monkeypatch) -> None:
    monkeypatch.setattr(lease, "STALE_S", 0.2)
    (board.place / "lock").mkdir(parents=True)
    mine.take()
    assert owner(board) == MINE


@pytest.fixture
def runner(board: LocalShell) -> Iterator[subprocess.Popen[bytes]]:
    """A process as a runner would be: its command line names the job's folder, and a file its number."""
    place = board.place / f"run-{THEIRS}" / "job1"
    place.mkdir(parents=True)
    process = subprocess.Popen(["sh", "-c", "sleep 60; :", f"hwnas 1/run-{THEIRS}/job1", THEIRS], process_group=0)
    (place / "pid").write_text(f"{process.pid}\n")
    (place / "result").write_text("half an answer")
    yield process
    with suppress(ProcessLookupError):  # the test has ended it, and seen it end
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_what_a_dead_one_left_is_ended_and_removed_at_once(mine, board, dead, runner) -> None:
    locked(board, f"{THEIRS} {platform.node()} {dead}")
    (board.place / "runner-of-all").mkdir()
    began = time.monotonic()
    mine.take()
    assert time.monotonic() - began < 5
    assert runner.wait(5) == -signal.SIGKILL
    assert {path.name for path in board.place.iterdir()} == {"lock", "runner-of-all"}


def test_another_process_that_got_the_number_of_a_runner_is_left_alone(mine, board, dead, runner) -> None:
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        (board.place / f"run-{THEIRS}" / "job1" / "pid").write_text(f"{innocent.pid}\n")
        locked(board, f"{THEIRS} {platform.node()} {dead}")
        mine.take()
        assert innocent.poll() is None and not (board.place / f"run-{THEIRS}").exists()
    finally:
        innocent.kill()
        innocent.wait()


def test_release_ends_what_was_started_and_touches_nothing_of_others(mine, board, runner) -> None:
    mine.take()
    mine.release()
    assert runner.poll() is None and (board.place / f"run-{THEIRS}").is_dir()
    theirs = Lease(board, THEIRS)
    theirs.take()
    theirs.release()
    assert runner.wait(5) == -signal.SIGKILL and not list(board.place.iterdir())


def test_who_lost_the_device_to_another_is_told(mine: Lease, board: LocalShell) -> None:
    mine.take()
    (board.place / "lock" / "owner").write_text(f"{THEIRS} laptop 77\n")
    with pytest.raises(DeviceError, match=r"another hwnas took the device over .* the same command goes on") as lost:
        mine.beat()
    assert not isinstance(lost.value, LostError)
    mine.release()
    assert owner(board) == THEIRS


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("left", [False, True])
def test_a_lost_answer_takes_nothing_twice(mine, board, dead, moment, left: bool) -> None:
    if left:
        locked(board, f"{THEIRS} {platform.node()} {dead}")
    board.lost = dict.fromkeys(range(0, 40, 2), moment)
    mine.take()
    mine.beat()
    assert owner(board) == MINE
    mine.release()
    assert not list(board.place.iterdir())


@pytest.mark.parametrize("left", ["nothing", "of the dead", "of the silent"])
def test_of_many_at_once_exactly_one_gets_the_device(board: LocalShell, dead: int, monkeypatch, left: str) -> None:
    monkeypatch.setattr(lease, "STALE_S", 0.2)
    if left != "nothing":
        locked(board, f"{THEIRS} {platform.node() if left == 'of the dead' else 'laptop'} {dead}")
    many = 6
    together, refusals = threading.Barrier(many), list[str]()

    def take(number: int) -> list[Lease]:
        held = Lease(LocalShell(board.home), f"{number:016x}")
        together.wait()
        try:
            held.take()
        except DeviceError as error:
            refusals.append(str(error))
            return []
        return [held]

    with ThreadPoolExecutor(many) as pool:
        (winner,) = chain.from_iterable(pool.map(take, range(many)))
    winner.beat()
    assert owner(board) == winner.token
    assert all("in use by" in why or "by several hwnas at once" in why for why in refusals)


def test_a_folder_that_cannot_be_made_is_said_in_a_line(board: LocalShell) -> None:
    (board.home / "file").write_text("mine")
    board.folder = "file/hwnas"
    with pytest.raises(DeviceError, match=r"file/hwnas on the device cannot be written: .*Not a directory") as refused:
        Lease(board, MINE).take()
    assert "\n" not in str(refused.value)


def test_a_full_disk_is_said_in_a_line_and_leaves_no_lock(mine: Lease, board: LocalShell) -> None:
    """A file system of a page, all taken; where no such can be mounted, the test is not made."""
    board.place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "none", board.place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.decode().strip()}")
    try:
        (board.place / "all").write_bytes(bytes(4096))
        with pytest.raises(DeviceError, match=r"cannot be written: .*; free some space there") as refused:
            mine.take()
        assert "\n" not in str(refused.value) and not (board.place / "lock").exists()
    finally:
        subprocess.run(["umount", board.place], check=True)
