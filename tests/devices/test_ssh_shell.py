"""The ssh shell against the genuine sshd: commands and files arrive as they are, and every break has its error."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from profilers import shells
from profilers.errors import DeviceError, InvalidInputError, LostError
from profilers.shells import Shell, ssh

from .lab import Board

ODD = "an 'odd' \"name\"; $(reboot) `reboot` & \\ü*.bin"
needs_sshd = pytest.mark.ssh


@pytest.fixture
def shell(board: Board, caplog: pytest.LogCaptureFixture) -> Iterator[Shell]:
    """A shell that in the end has left no thread, and no word about what had to be given up."""
    opened = shells.open_shell(board.address)
    yield opened
    opened.close()
    gc.collect()
    assert not [*caplog.get_records("call"), *caplog.get_records("teardown")]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ssh ")]


def soon(seconds: float, act: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def eventually(fact: Callable[[], bool], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not (known := fact()) and time.monotonic() < end:
        time.sleep(0.1)
    return known


def answers(shell: Shell) -> bool:
    try:
        return shell.run(["echo", "back"]).out == "back\n"
    except LostError:
        return False


@needs_sshd
def test_a_command_ends_with_its_code_and_both_its_outputs(shell: Shell) -> None:
    done = shell.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")
    assert shell.run(["sh", "-c", "kill -9 $$"]).code == 128 + 9
    assert shell.run(["no-such-program"]).code == 127
    assert shell.run(["pwd"]).out == "/home\n"
    assert shell.run(["printf", "\\377"]).out == "\N{REPLACEMENT CHARACTER}"


@needs_sshd
def test_words_arrive_as_they_are(shell: Shell) -> None:
    words = [ODD, "", " ", "a\nb", "\\n", "it's", '"', "$HOME", "~", "*", "!x", "}", "-n", "x" * 100_000]
    assert shell.run(["printf", "%s\\0", *words]).out.split("\0")[:-1] == words


@needs_sshd
def test_a_program_is_run_even_where_shells_have_a_builtin_of_its_name(shell: Shell) -> None:
    assert shell.run(["echo", "a\\nb"]).out == "a\\nb\n"  # dash's own would break the line
    assert shell.run(["exit", "3"]).code == 127


@needs_sshd
def test_20_mb_go_there_and_back_unchanged_and_programs_stay_executable(
    shell: Shell, board: Board, tmp_path: Path
) -> None:
    content = os.urandom(20_000_000)
    files = [tmp_path / ODD, tmp_path / "empty", *(tmp_path / f"{i}.onnx" for i in range(30))]
    for file in files:
        file.write_bytes(content if file.name == ODD else file.name.encode() * (file.name != "empty"))
    files[0].chmod(0o755)
    folder = f".cache/{ODD}"
    assert shell.run(["mkdir", "-p", folder]).code == 0
    for _ in range(2):  # over what is there
        shell.push(files, folder, timeout_s=60)
    assert sorted(path.name for path in (board.home / folder).iterdir()) == sorted(file.name for file in files)
    assert os.access(board.home / folder / ODD, os.X_OK)
    assert [shell.pull(f"{folder}/{file.name}") for file in files] == [file.read_bytes() for file in files]


@needs_sshd
def test_files_of_the_kernel_are_read_though_they_have_no_size(shell: Shell) -> None:
    assert shell.pull("/proc/version") == Path("/proc/version").read_bytes()


@needs_sshd
def test_what_cannot_be_read_or_written_is_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    for path in ("none", "/home"):
        with pytest.raises(DeviceError, match=f"{path} cannot be read there") as failure:
            shell.pull(path)
        assert not isinstance(failure.value, LostError)
    with pytest.raises(DeviceError, match="there is no folder no/where there"):
        shell.push([tmp_path / "file"], "no/where", timeout_s=20)
    with pytest.raises(DeviceError, match="files cannot be written to /etc/ssh"):  # mounted read-only
        shell.push([tmp_path / "file"], "/etc/ssh", timeout_s=20)
    with pytest.raises(InvalidInputError, match="nothing cannot be read: No such file"):
        shell.push([tmp_path / "nothing"], ".", timeout_s=20)
    assert shell.run(["ls"]).out == ""


@needs_sshd
def test_a_full_disk_is_told_with_its_room_and_keeps_no_half_files(shell: Shell, board: Board, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    (tmp_path / "small").write_bytes(b"fits")
    assert shell.run(["mkdir", "models"]).code == 0
    board.fill(leave=2_000_000)
    with pytest.raises(
        DeviceError, match=r"written to models \((1\.9|2\.0) MB are free there, 3\.0 MB were"
    ) as failure:
        shell.push([tmp_path / "big", tmp_path / "small"], "models", timeout_s=20)
    assert not isinstance(failure.value, LostError)
    assert {path.name for path in (board.home / "models").iterdir()} <= {"small"}
    board.free()
    shell.push([tmp_path / "big"], "models", timeout_s=20)
    assert (board.home / "models" / "big").stat().st_size == 3_000_000


@needs_sshd
def test_a_push_that_is_cut_short_leaves_no_file_under_its_name(shell: Shell, board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(50_000_000))
    with pytest.raises(LostError, match=r"no answer for 0\.1 s while files were copied"):
        shell.push([tmp_path / "file"], ".", timeout_s=0.1)
    assert not (board.home / "file").exists()
    shell.push([tmp_path / "file"], ".", timeout_s=60)
    assert (board.home / "file").read_bytes() == (tmp_path / "file").read_bytes()


@needs_sshd
def test_a_command_over_its_time_is_lost_and_ended_with_its_children(shell: Shell, board: Board) -> None:
    with pytest.raises(LostError, match="no answer for 1 s while sh ran"):
        shell.run(["sh", "-c", "sleep 4311 & sleep 4312; true"], timeout_s=1)
    assert eventually(lambda: board.processes() == [], within_s=3), board.processes()
    assert shell.run(["echo", "back"]).out == "back\n"
    assert eventually(lambda: board.processes() == [], within_s=3), board.processes()


@needs_sshd
def test_what_a_command_leaves_running_on_purpose_goes_on(shell: Shell, board: Board) -> None:
    shell.run(["sh", "-c", "setsid sleep 4313 </dev/null >/dev/null 2>&1 &"])
    shell.close()
    time.sleep(0.5)
    assert board.processes() == ["sleep 4313"]


@needs_sshd
def test_a_link_that_goes_down_is_noticed_and_the_same_shell_goes_on_when_it_is_up(shell: Shell, board: Board) -> None:
    shell.run(["true"])
    started = time.monotonic()
    cut = soon(0.5, board.network.down)
    with pytest.raises(LostError, match="the connection broke while sleep ran"):
        shell.run(["sleep", "4314"], timeout_s=16)
    assert time.monotonic() - started < 14
    with pytest.raises(LostError, match="no ssh server answers"):
        shell.run(["true"])
    cut.join()
    # Nobody has told the board's sshd: the guard that waits for the clock ends the command.
    assert eventually(lambda: board.processes() == [], within_s=8), board.processes()
    board.network.up()
    assert eventually(lambda: answers(shell), within_s=10)


@needs_sshd
def test_a_killed_sshd_is_a_loss_until_it_is_started_again(shell: Shell, board: Board) -> None:
    killer = soon(1, board.kill)
    with pytest.raises(LostError, match="the connection broke while sleep ran"):
        shell.run(["sleep", "4315"])
    killer.join()
    assert eventually(lambda: board.processes() == [], within_s=3), board.processes()
    with pytest.raises(LostError, match=r"no ssh server answers.*does sshd run there"):
        shell.run(["true"])
    board.start()
    assert shell.run(["echo", "back"]).out == "back\n"


@needs_sshd
def test_a_connection_that_ended_between_two_commands_is_not_missed(shell: Shell, board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    shell.push([tmp_path / "file"], ".", timeout_s=20)
    board.kill()
    board.start()
    assert eventually(lambda: answers(shell), within_s=2)
    assert shell.pull("file") == b"content"


@needs_sshd
def test_a_server_without_sftp_still_runs_commands(shell: Shell, board: Board) -> None:
    settings = (board.etc / "config").read_text()
    (board.etc / "config").write_text("\n".join(line for line in settings.splitlines() if "sftp" not in line))
    board.kill()
    board.start()
    with pytest.raises(DeviceError, match="install openssh-sftp-server"):
        shell.pull("/proc/version")
    assert shell.run(["true"]).code == 0


@needs_sshd
def test_two_shells_on_one_board_do_not_disturb_each_other(shell: Shell, board: Board) -> None:
    other = shells.open_shell(board.address)
    slow = threading.Thread(target=shell.run, args=(["sleep", "1"],))
    slow.start()
    with pytest.raises(LostError):
        other.run(["sleep", "4316"], timeout_s=0.3)
    other.close()
    slow.join()
    assert shell.run(["echo", "undisturbed"]).out == "undisturbed\n"


@needs_sshd
def test_a_closed_shell_connects_again_when_it_is_used(shell: Shell) -> None:
    shell.close()
    assert shell.run(["echo", "1"]).out == "1\n"
    shell.close()
    shell.close()
    assert shell.run(["echo", "2"]).out == "2\n"


CTRL_C = """
import sys, threading
from profilers import shells
shell = shells.open_shell(sys.argv[1])
try:
    shell.run(["true"])
    print("started", flush=True)
    shell.run(["sleep", "4317"], 60)
except KeyboardInterrupt:
    if sys.argv[2] == "close":
        shell.close()
        print(threading.active_count())
"""


def hears_ctrl_c() -> None:
    """Also where the test run is in the background of a shell and hears none."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@needs_sshd
@pytest.mark.parametrize("ending", ["close", "die"])
def test_ctrl_c_ends_the_command_too_and_says_nothing(board: Board, ending: str) -> None:
    client = [sys.executable, "-X", "dev", "-W", "error", "-c", CTRL_C, board.address, ending]
    pipe = subprocess.PIPE
    with subprocess.Popen(client, stdout=pipe, stderr=pipe, text=True, preexec_fn=hears_ctrl_c) as program:  # noqa: PLW1509
        assert program.stdout is not None and program.stdout.readline() == "started\n"
        assert eventually(lambda: "sleep 4317" in board.processes(), within_s=10)
        program.send_signal(2)
        out, err = program.communicate(timeout=20)
    assert (program.returncode, out, err) == (0, "1\n" if ending == "close" else "", "")
    assert eventually(lambda: board.processes() == [], within_s=3), board.processes()


@needs_sshd
def test_what_the_login_shell_prints_first_is_none_of_a_commands_output(shell: Shell, board: Board) -> None:
    (board.home / ".ssh").mkdir()
    (board.home / ".ssh/rc").write_text("printf 'Welcome to the board!\\n\\nlast login: now'\n")
    assert shell.run(["echo", "back"]).out == "back\n"
    assert shell.run(["sh", "-c", "echo err >&2; exit 3"]).code == 3


@needs_sshd
def test_an_answer_without_end_is_not_read_to_its_end_and_its_program_is_ended(
    shell: Shell, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MAX_ANSWER_BYTES", 4 << 20)
    for command in (["yes", "without end"], ["sh", "-c", "yes without end >&2"]):
        with pytest.raises(DeviceError, match="gave more than"):
            shell.run(command)
    with pytest.raises(DeviceError, match="the file /dev/zero gave more than"):
        shell.pull("/dev/zero")
    assert shell.run(["echo", "back"]).out == "back\n"
    assert eventually(lambda: "without end" not in shell.run(["ps", "-eo", "args"]).out, 10.0)
