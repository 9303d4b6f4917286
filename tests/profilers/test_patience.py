"""A device that went away is waited for; what it does badly is not tried again."""

import time

import pytest

from profilers.errors import DeviceError, LostError
from profilers.patience import PatientShell

from .local_shell import LocalShell

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def shell(board: LocalShell, told: list[str]) -> PatientShell:
    return PatientShell(board, told.append)


def test_a_call_is_tried_again_until_the_device_is_back_and_that_is_told_once(shell, board, told) -> None:
    shell.run(["true"])
    board.away_until = time.monotonic() + 0.3
    assert shell.run(["echo", "here; $(id)"]).out == "here; $(id)\n"
    assert len(board.calls) > 4 and told == ["the cable is out; trying again for 60 s"]


def test_every_loss_is_told(shell, board, told) -> None:
    board.lost = {0: "before", 2: "after", 3: "before"}
    shell.run(["true"])
    shell.run(["true"])
    assert len(board.calls) == 5 and len(told) == 2


def test_a_device_that_was_never_reached_is_given_up_sooner(shell, board, told) -> None:
    board.away_until = time.monotonic() + 0.1
    shell.run(["true"])
    assert told == ["the cable is out; trying again for 10 s"]


@pytest.mark.parametrize("patience_s", [0.0, 0.3])
def test_a_device_that_stays_away_is_given_up_in_time(shell, board, monkeypatch, patience_s: float) -> None:
    shell.run(["true"])
    board.away_until = float("inf")
    shell.patience_s = patience_s
    began = time.monotonic()
    with pytest.raises(LostError, match=r"^the cable is out; given up after \d s, what was measured is kept$") as lost:
        shell.run(["true"])
    assert patience_s <= time.monotonic() - began < patience_s + 0.3
    assert lost.value.exit_code == 4


def test_what_the_device_refuses_is_not_tried_again(shell, board, told, tmp_path) -> None:
    board.full = True
    (tmp_path / "file").write_text("content")
    with pytest.raises(DeviceError, match="No space left on device"):
        shell.push([tmp_path / "file"], ".", 1.0)
    assert shell.run(["false"]).code == 1
    assert len(board.calls) == 2 and not told


def test_files_are_copied_whole_though_they_are_given_once(shell, board, tmp_path) -> None:
    board.lost = {0: "before", 1: "after", 3: "before"}
    (tmp_path / "file").write_text("content")
    shell.push(iter([tmp_path / "file"]), ".", 1.0)
    assert shell.pull("file") == b"content"
    assert len(board.calls) == 5


def test_closing_lets_go_of_the_connection(shell, board) -> None:
    assert shell.folder == board.folder
    shell.close()
    assert board.closed == 1
