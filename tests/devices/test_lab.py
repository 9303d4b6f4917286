"""The lab is what it claims: genuine programs on devices that really go away."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from .lab import Board, Phone
from .namespaces import wait_until

FORGOTTEN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from devices.lab import Board, Network
network = Network(Path(sys.argv[2])).__enter__()
board = Board(network).__enter__()
board.ssh("setsid sleep 4323 </dev/null >/dev/null 2>&1 &")
print(network.device_pid, board.path(""), flush=True)
time.sleep(60)
"""


@pytest.mark.adb
def test_a_phone_answers_the_genuine_adb_with_exit_codes(phone: Phone) -> None:
    assert phone.adb("connect", phone.serial).stdout == f"connected to {phone.serial}\n"
    done = phone.adb("-s", phone.serial, "shell", "-T", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    # The client that the test starts itself reaches the same server and phone.
    states = subprocess.run(["adb", "devices"], capture_output=True, text=True, check=True, timeout=20).stdout
    assert states.split()[-2:] == [phone.serial, "device"]


@pytest.mark.adb
def test_a_phone_without_link_leaves_the_client_hanging_and_comes_back(phone: Phone) -> None:
    phone.adb("connect", phone.serial)
    phone.network.down()
    with pytest.raises(subprocess.TimeoutExpired):
        phone.adb("-s", phone.serial, "shell", "true", timeout_s=1)
    assert phone.adb("-s", phone.serial, "get-state").stdout == "device\n"
    phone.network.up()
    assert phone.adb("-s", phone.serial, "shell", "echo back").stdout == "back\n"


@pytest.mark.adb
def test_what_a_killed_daemon_started_goes_on_until_the_device_ends(phone: Phone) -> None:
    phone.adb("connect", phone.serial)
    phone.adb("-s", phone.serial, "shell", "setsid sleep 4321 </dev/null >/dev/null 2>&1 &")
    phone.kill()
    assert phone.processes() == ["sleep 4321"]
    phone.start()
    assert phone.processes() == ["sleep 4321"]
    phone.stop()
    assert phone.processes() == []


@pytest.mark.adb
def test_a_secure_phone_lets_in_only_a_key_that_was_accepted(secure_phone: Phone) -> None:
    def state() -> str:
        secure_phone.adb("disconnect", secure_phone.serial)
        secure_phone.adb("connect", secure_phone.serial)
        return secure_phone.adb("devices").stdout.split()[-1]

    assert state() == "unauthorized"
    secure_phone.authorise()
    assert state() == "device"
    secure_phone.revoke()
    assert state() == "unauthorized"


@pytest.mark.adb
def test_a_full_disk_refuses_files_until_it_is_freed(phone: Phone) -> None:
    phone.adb("connect", phone.serial)
    write = ("-s", phone.serial, "shell", "printenv PATH | tee /data/local/tmp/file")
    phone.fill()
    assert "No space left on device" in phone.adb(*write).stderr
    phone.free()
    assert phone.adb(*write).returncode == 0
    assert (phone.tmp / "file").read_text().startswith("/system/bin")


@pytest.mark.adb
def test_an_arm_phone_has_no_glibc_and_is_no_root(arm_phone: Phone) -> None:
    arm_phone.adb("connect", arm_phone.serial)
    assert arm_phone.adb("shell", "uname -m; id -u").stdout == "aarch64\n2000\n"
    assert arm_phone.adb("shell", "find / -xdev -name '*libc.so*' -o -name 'ld-linux-aarch64*'").stdout.split() == [
        "/adbd/libc.so.6"  # adbd's own, for this machine's processor
    ]


@pytest.mark.ssh
@pytest.mark.parametrize("kind", ["board", "arm_board"])
def test_a_process_that_lost_its_parent_vanishes_when_it_ends(kind: str, request: pytest.FixtureRequest) -> None:
    orphan = "sleep 0.1 >/dev/null 2>&1 & echo $!"
    done = request.getfixturevalue(kind).ssh(f"pid=$({orphan}); kill -0 $pid && sleep 1; kill -0 $pid")
    assert done.returncode == 1 and "No such process" in done.stderr


@pytest.mark.ssh
def test_a_board_answers_the_genuine_ssh_with_exit_codes(board: Board) -> None:
    done = board.ssh("pwd; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "/home\n", "err\n")
    (board.home / "file").write_text("from outside")
    assert board.ssh("cat file").stdout == "from outside"


@pytest.mark.ssh
def test_a_board_with_a_new_host_key_is_not_trusted(board: Board) -> None:
    assert board.ssh("true").returncode == 0
    board.change_host_key()
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in board.ssh("true").stderr


@pytest.mark.ssh
def test_a_killed_sshd_cuts_its_connections_and_can_be_started_again(board: Board) -> None:
    client = ["ssh", "-F", str(board.client / "config"), "-p", "2222", "root@10.77.0.2"]
    with subprocess.Popen(
        [*client, "echo started; exec sleep 4322"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as session:
        assert session.stdout is not None and session.stdout.readline() == b"started\n"
        killed = time.monotonic()
        board.kill()
        assert session.wait(timeout=10) == 255
    assert time.monotonic() - killed < 5
    assert "Connection refused" in board.ssh("true").stderr
    board.start()
    assert board.ssh("echo back").stdout == "back\n"


@pytest.mark.ssh
def test_an_arm_board_runs_onnxruntime_on_an_arm_processor(arm_board: Board) -> None:
    script = "import platform, onnxruntime; print(platform.machine(), onnxruntime.get_available_providers())"
    assert "aarch64" in (answer := arm_board.ssh(f"python3 -c '{script}'").stdout)
    assert "CPUExecutionProvider" in answer


@pytest.mark.ssh
def test_a_test_run_killed_with_signal_9_leaves_no_device_behind(board: Board, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORGOTTEN, str(Path(__file__).parents[1]), str(tmp_path / "forgotten")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid, root = run.stdout.readline().split()
        assert Path(root).exists() and Path("/proc", pid).exists()
        run.kill()
    wait_until(lambda: not Path(root).exists() and not Path("/proc", pid).exists(), "the device goes on", 5)
