"""The adb shell against the genuine adb client and the genuine adbd, which are broken in the ways that phones break."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from profilers.errors import DeviceError, LostError
from profilers.shells import Shell, _bounded, adb, open_shell

from .lab import Phone, missing
from .namespaces import Network

pytestmark = pytest.mark.adb

T = TypeVar("T")
TMP = "/data/local/tmp"
ODD_NAMES = ("two words", 'quo"te', "quo'te", "a;b", "$(id)", "`id`", "back\\slash", "st*r", "-dash", "per%41cent", "é")
SLOW = ["sh", "-c", "while echo run; do sleep 1; done"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here needs the moments that a phone may need after it was plugged in."""
    monkeypatch.setattr(adb, "PATIENCE_S", 1.0)


@pytest.fixture
def old_phone(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """A phone whose adbd knows the shell protocol of before Android 7 only: a terminal, no exit codes."""
    if reason := missing(adb=True):
        pytest.skip(reason)
    lab = shutil.copytree(Path(os.environ["HWNAS_DEVICE_LAB"], "phone/adbd"), tmp_path / "lab/phone/adbd")
    adbd = lab / "adbd"
    adbd.write_bytes(adbd.read_bytes().replace(b"shell_v2", b"shell_v_"))  # the feature's name, as it is announced
    monkeypatch.setenv("HWNAS_DEVICE_LAB", str(tmp_path / "lab"))
    with Phone(network) as phone:
        yield phone


@pytest.fixture
def shell(phone: Phone) -> Shell:
    return open_shell(f"adb://{phone.serial}")


@contextmanager
def in_a_second(action: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(1, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def file_of(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def patiently(call: Callable[[], T]) -> T:
    """What comes of a call that is repeated while the device is lost, as whoever drives a shell does."""
    for _ in range(20):
        try:
            return call()
        except LostError:
            time.sleep(0.5)
    return call()


def wait_until(fact: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.1)
    return fact()


def test_a_command_gives_its_exit_code_and_both_outputs_apart(shell: Shell) -> None:
    done = shell.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")


def test_a_command_that_is_killed_or_not_there_gives_the_shell_s_exit_code(shell: Shell) -> None:
    assert shell.run(["sh", "-c", "kill -9 $$"]).code == 137
    assert shell.run(["no such program"]).code == 127


@pytest.mark.parametrize("word", ["", " ", *ODD_NAMES, "new\nline", "\ttab", "$HOME", "&& ls", "~", "#"])
def test_arguments_arrive_as_they_are(shell: Shell, word: str) -> None:
    assert shell.run(["printf", "%s.", word, "next"]).out == f"{word}.next."


def test_a_command_reads_nothing_of_ours(shell: Shell) -> None:
    assert shell.run(["cat"]).out == ""


def test_output_that_looks_like_an_end_marker_is_output(shell: Shell) -> None:
    mine = shell.run(["sh", "-c", "tr '\\0' '\\n' </proc/$PPID/cmdline; echo; echo 0123456789abcdef 0"])
    assert mine.out.endswith("\n0123456789abcdef 0\n")


def test_files_pushed_and_pulled_are_equal(phone: Phone, shell: Shell, tmp_path: Path) -> None:
    file = file_of(tmp_path / "blob", 20_000_000)
    shell.push([file], TMP, 60)
    assert (phone.tmp / "blob").read_bytes() == file.read_bytes() == shell.pull(f"{TMP}/blob", 60)


def test_files_and_folders_may_have_any_name(phone: Phone, shell: Shell, tmp_path: Path) -> None:
    files = [file_of(tmp_path / name, 100 + number) for number, name in enumerate(ODD_NAMES)]
    for name in ODD_NAMES:
        folder = f"{TMP}/{name}"
        assert shell.run(["mkdir", folder]).code == 0
        shell.push(files, folder, 60)
        assert names_in(phone.tmp / name) == sorted(ODD_NAMES)
    assert all(shell.pull(f"{folder}/{file.name}") == file.read_bytes() for file in files)


def test_a_pushed_program_can_be_run_and_replaced(shell: Shell, tmp_path: Path) -> None:
    for word in ("first", "second"):
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\necho {word}\n")
        program.chmod(0o755)
        shell.push([program], TMP, 60)
        assert shell.run([f"{TMP}/program"]).out == f"{word}\n"


def test_a_file_that_is_not_there_is_said_to_be_so(shell: Shell) -> None:
    for path in (f"{TMP}/none", TMP):
        with pytest.raises(DeviceError, match=f"no file {path} to give") as caught:
            shell.pull(path)
        assert not isinstance(caught.value, LostError)


@pytest.mark.parametrize("folder", [f"{TMP}/none", "/proc", "/usr"])
def test_a_folder_that_is_not_there_or_cannot_be_written_is_named(shell: Shell, tmp_path: Path, folder: str) -> None:
    with pytest.raises(DeviceError, match=f" in {folder}: ") as caught:
        shell.push([file_of(tmp_path / "file", 10)], folder, 60)
    assert not isinstance(caught.value, LostError) and "\n" not in str(caught.value)


def test_a_full_disk_is_said_to_be_full_and_left_as_it_was(phone: Phone, shell: Shell, tmp_path: Path) -> None:
    phone.fill(leave=3_000_000)
    file = file_of(tmp_path / "blob", 20_000_000)
    with pytest.raises(
        DeviceError, match=rf"19.1 MiB in {TMP}: .*No space left on device, 2.[789] MiB are free"
    ) as caught:
        shell.push([file_of(tmp_path / "small", 10), file], TMP, 60)
    assert not isinstance(caught.value, LostError) and names_in(phone.tmp) == []
    phone.free()
    shell.push([file], TMP, 60)
    assert shell.pull(f"{TMP}/blob") == file.read_bytes()


def test_a_command_over_its_time_is_lost_and_does_not_stay_on_the_device(phone: Phone, shell: Shell) -> None:
    with pytest.raises(LostError, match=r"still running sleep after 1 s"):
        shell.run(["sleep", "1000"], timeout_s=1)
    assert wait_until(lambda: not phone.processes(), 5), phone.processes()
    assert shell.run(["true"]).code == 0


def test_adbd_killed_in_mid_run_is_a_loss_and_a_new_one_goes_on(phone: Phone, shell: Shell) -> None:
    with in_a_second(phone.kill), pytest.raises(LostError):
        shell.run(SLOW)
    with pytest.raises(LostError, match="unreachable"):
        shell.run(["true"])
    phone.start()
    assert shell.run(["echo", "back"]).out == "back\n"


def test_adb_disconnect_in_mid_run_is_a_loss_and_the_next_call_connects_again(phone: Phone, shell: Shell) -> None:
    with in_a_second(lambda: phone.adb("disconnect", phone.serial)), pytest.raises(LostError, match="running sh"):
        shell.run(SLOW)
    assert shell.run(["echo", "back"]).out == "back\n"


def test_an_adb_server_ended_in_mid_run_is_a_loss_and_the_next_call_starts_another(phone: Phone, shell: Shell) -> None:
    shell.run(["true"])
    with in_a_second(lambda: phone.adb("kill-server")), pytest.raises(LostError):
        shell.run(SLOW)
    assert shell.run(["echo", "back"]).out == "back\n"


def test_a_link_down_in_mid_run_is_a_loss_within_our_time(phone: Phone, network: Network, shell: Shell) -> None:
    shell.run(["true"])
    started = time.monotonic()
    with in_a_second(network.down), pytest.raises(LostError):
        shell.run(SLOW, timeout_s=2)
    assert time.monotonic() - started < 2 + 2 * adb.PROBE_S + 1
    assert "ready" not in [device.state for device in adb.discover()]
    with pytest.raises(LostError):
        shell.run(["true"], timeout_s=2)
    network.up()
    assert patiently(lambda: shell.run(["echo", "back"])).out == "back\n"
    assert wait_until(lambda: not phone.processes(), 8), phone.processes()


@pytest.mark.parametrize("fault", ["kill", "down", "disconnect"])
def test_a_push_that_broke_leaves_no_half_file_under_its_name(
    phone: Phone, network: Network, shell: Shell, tmp_path: Path, fault: str
) -> None:
    files = [file_of(tmp_path / name, 60_000_000) for name in ("one", "two")]
    shell.push([file_of(tmp_path / "old", 1000)], TMP, 60)
    break_it = {
        "kill": phone.kill,
        "down": network.down,
        "disconnect": lambda: phone.adb("disconnect", phone.serial),
    }[fault]
    arrival = threading.Thread(
        target=lambda: (wait_until(lambda: any(phone.tmp.glob(".part-*/one")), 10), break_it())  # in the middle of it
    )
    arrival.start()
    with pytest.raises(LostError):
        shell.push(files, TMP, 3)
    arrival.join()
    assert [name for name in names_in(phone.tmp) if not name.startswith(".part-")] == ["old"]
    if fault == "down":
        network.up()
    elif fault == "kill":
        phone.start()
    patiently(lambda: shell.push(files, TMP, 60))
    assert names_in(phone.tmp) == ["old", "one", "two"]


def test_a_pull_that_broke_gives_nothing(phone: Phone, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (adb, _bounded):
        monkeypatch.setattr(room, "MAX_ANSWER_BYTES", 1 << 32)
    with (phone.tmp / "blob").open("wb") as blob:
        blob.truncate(2_000_000_000)
    kill = threading.Timer(0.2, phone.kill)
    kill.start()
    with pytest.raises(LostError):
        shell.pull(f"{TMP}/blob", 60)
    kill.join()


def test_a_phone_must_have_accepted_our_key(secure_phone: Phone) -> None:
    shell = open_shell(f"adb://{secure_phone.serial}")
    with pytest.raises(DeviceError, match=r"is unauthorised .*: accept this computer's key on its screen") as caught:
        shell.run(["true"])
    assert not isinstance(caught.value, LostError)
    assert [device.state for device in adb.discover()] == ["unauthorised"]
    secure_phone.authorise()
    assert shell.run(["echo", "welcome"]).out == "welcome\n"
    assert [device.state for device in adb.discover()] == ["ready"]
    secure_phone.revoke()
    secure_phone.adb("disconnect", secure_phone.serial)
    with pytest.raises(LostError):
        shell.run(["true"])
    with pytest.raises(DeviceError, match="unauthorised"):
        shell.run(["true"])


def test_a_device_that_is_not_there_is_lost_with_advice(phone: Phone) -> None:
    for address in ("XYZ123", "10.77.0.2:5556"):
        with pytest.raises(LostError, match=rf"^{address} is unreachable \(adb: .*\): is the cable plugged in"):
            open_shell(f"adb://{address}").run(["true"])


def test_a_phone_in_use_is_discovered_and_its_address_works(phone: Phone, shell: Shell) -> None:
    shell.run(["true"])
    [device] = adb.discover()
    assert (device.connect, device.state) == (f"adb://{phone.serial}", "ready")
    assert open_shell(device.connect).run(["echo", "hello"]).out == "hello\n"


def test_a_phone_with_the_old_shell_protocol_serves_too(old_phone: Phone, tmp_path: Path) -> None:
    shell = open_shell(f"adb://{old_phone.serial}")
    assert "shell_v2" not in old_phone.adb("-s", old_phone.serial, "features").stdout
    done = shell.run(["sh", "-c", "echo out; echo err >&2; printf end; exit 7"])
    assert (done.code, done.out, done.err) == (7, "out\nerr\nend", "")
    assert shell.run(["cat"]).out == ""
    file = file_of(tmp_path / "blob", 1_000_000)
    shell.push([file], TMP, 60)
    assert shell.pull(f"{TMP}/blob") == file.read_bytes()
    with in_a_second(old_phone.kill), pytest.raises(LostError):
        shell.run(SLOW, 5)


def test_a_phone_with_other_tools_and_another_processor_serves_too(arm_phone: Phone, tmp_path: Path) -> None:
    shell = open_shell(f"adb://{arm_phone.serial}")
    assert shell.run(["uname", "-m"]).out == "aarch64\n"
    assert shell.run(["printf", "%s.", *ODD_NAMES]).out == "".join(f"{name}." for name in ODD_NAMES)
    file = file_of(tmp_path / "two words", 1_000_000)
    shell.push([file], TMP, 60)
    assert shell.pull(f"{TMP}/two words") == file.read_bytes()
    arm_phone.fill(leave=100_000)
    with pytest.raises(DeviceError, match=r"No space left on device, 0.1 MiB are free"):
        shell.push([file], TMP, 60)
    with pytest.raises(LostError, match="still running sleep"):
        shell.run(["sleep", "1000"], timeout_s=1)
    assert wait_until(lambda: not arm_phone.processes(), 8), arm_phone.processes()
