"""What the commands say of boards in every state, and that no word of a user's reaches a shell."""

import subprocess
from pathlib import Path

import pytest

from .lab import Board, Network
from .scenes import Scene, brief, scene

pytestmark = [pytest.mark.ssh, pytest.mark.usefixtures("brief")]
__all__ = ["brief"]
CPUFREQ = "devices/system/cpu/cpu0/cpufreq"


@pytest.fixture
def on_board(board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    """A board that works, ready to be profiled."""
    return scene(board, tmp_path, capsys)


def row(of: Scene, device: str = "board") -> dict[str, str]:
    listed = of.hwnas("devices", "--json")
    assert listed.code == 0 and not listed.err, listed
    [found] = [row for row in listed.json if row["device"] == device]
    return dict(found)


def assert_told(of: Scene, device: str, state: str, advice: str) -> None:
    """The list of devices gives that state and advice, and profiling fails with the same advice in one line."""
    found = row(of, device)
    assert found["state"] == state and advice in found["advice"], found
    done = of.profile(device)
    assert done.code == 4 and advice in done.complaint


def test_a_board_that_is_ready_is_listed_so_with_its_machine(on_board: Scene) -> None:
    found = row(on_board)
    assert (found["state"], found["advice"], found["machine"]) == ("ready", "", "x86_64")
    assert row(on_board, "host")["state"] == "ready"


def test_a_board_without_our_key_is_told_to_be_given_it(board: Board, on_board: Scene) -> None:
    key = (board.etc / "authorized_keys").read_bytes()
    (board.etc / "authorized_keys").write_bytes(b"")
    assert_told(on_board, "board", "unauthorised", "give it one by: ssh-copy-id -p 2222 root@10.77.0.2")
    (board.etc / "authorized_keys").write_bytes(key)
    assert row(on_board)["state"] == "ready"


def test_a_key_that_is_withdrawn_in_mid_run_keeps_the_table(board: Board, on_board: Scene) -> None:
    keys = board.etc / "authorized_keys"
    key = keys.read_bytes()
    with on_board.in_mid_run(lambda: keys.write_bytes(b""), board.kill, board.start):
        done = on_board.profile()
    assert done.code == 4 and "none of your keys opens it" in done.complaint
    keys.write_bytes(key)
    on_board.assert_whole(on_board.profile())


def test_a_board_with_another_host_key_is_not_talked_to_until_its_owner_says_so(board: Board, on_board: Scene) -> None:
    board.change_host_key()
    assert_told(on_board, "board", "unauthorised", "forget the old key by: ssh-keygen -R")
    known = board.client / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-R", board.host, "-f", known], check=True, capture_output=True)
    assert_told(on_board, "board", "unauthorised", "is not known yet")
    known.write_text(f"{board.host} {(board.etc / 'host_key.pub').read_text()}")
    assert row(on_board)["state"] == "ready"


def test_a_board_that_is_off_is_listed_as_unreachable(board: Board, on_board: Scene) -> None:
    board.kill()
    assert_told(on_board, "board", "unreachable", "no ssh server answers")
    board.start()
    assert row(on_board)["state"] == "ready"


def test_a_name_that_nobody_knows_is_told(on_board: Scene) -> None:
    assert on_board.hwnas("devices", "add", "lost", "--connect", "ssh://pi@no-such-board.invalid").code == 0
    assert "no address of no-such-board.invalid is known" in row(on_board, "lost")["advice"]


def test_a_device_is_added_once_and_only_with_an_address(on_board: Scene) -> None:
    again = on_board.hwnas("devices", "add", "board", "--connect", "ssh://pi@raspberrypi", "--only-here")
    assert again.code == 3 and "has a device 'board' already" in again.complaint
    wrong = on_board.hwnas("devices", "add", "other", "--connect", "ssh://pi@rasp berry", "--only-here")
    assert wrong.code == 3 and "is no address for ssh" in wrong.complaint


@pytest.mark.parametrize(
    "word", ["$(touch${IFS}canary)", "`touch${IFS}canary`", "a;touch${IFS}canary", "'&touch\tcanary'"]
)
def test_no_word_of_a_user_reaches_a_shell(
    board: Board, on_board: Scene, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = on_board.hwnas("devices", "add", "host-name", "--connect", f"ssh://root@{word}", "--only-here")
    assert refused.code == 3 and "is no address for ssh" in refused.complaint
    for name, *options in (
        ("user", "--connect", f"ssh://{word.replace(chr(9), '')}@10.77.0.2:2222"),
        ("tool", "--connect", board.address, "--runner", f"/home/{word}/onnxruntime_perf_test"),
        ("python", "--connect", board.address, "--runner", f"python3 {word}"),
    ):
        assert on_board.hwnas("devices", "add", name, *options, "--only-here").code == 0
        assert row(on_board, name)["state"] != "ready"
        assert on_board.profile(name).code == 4
    assert not [path for root in (tmp_path, board.home) for path in root.rglob("*canary*") if path.name == "canary"]
    assert not board.path("/canary").exists() and not board.path("/tmp/canary").exists()


def test_a_workspace_and_a_home_with_odd_names_are_used_as_they_are(
    network: Network, board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / 'it\'s; $(touch canary) "here"'
    odd.mkdir()
    found = scene(board, odd, capsys)
    found.assert_whole(found.profile())
    assert not list(tmp_path.rglob("canary")) and not list(board.home.rglob("canary"))
