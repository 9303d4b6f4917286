"""What adb says is understood as it says it; the texts are those of platform-tools 29 and later, and of real phones."""

import shutil
import socket
import subprocess
import threading
from pathlib import Path
from urllib.parse import unquote

import pytest

from profilers.errors import DeviceError, InvalidInputError, LostError
from profilers.shells import _bounded, adb, discovered

LISTING = """\
List of devices attached
8A2X0XXXX              device usb:1-2 product:blueline model:Pixel_3 device:blueline transport_id:4
10.77.0.2:5555         device transport_id:1
emulator-5554          offline transport_id:2
R58M12ABCDE            unauthorized usb:3-1 transport_id:7
0123 %41 device x $(y) device product:odd model:Odd_One device:odd transport_id:9
ZY22                   no permissions (user in plugdev group; are your udev rules wrong?); see [http://developer.android.com/tools/device.html] usb:1-4 transport_id:3
ZY23                   no permissions; see [http://developer.android.com/tools/device.html] transport_id:5
HT4                    recovery usb:1-1 product:x model:Y device:z transport_id:6

"""  # noqa: E501


def client(stdout: bytes, stderr: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.CompletedProcess([], 0, stdout, stderr)


def test_every_listed_device_is_found_with_its_state() -> None:
    assert {device.connect: device.state for device in adb.found(LISTING)} == {
        "adb://8A2X0XXXX": "ready",
        "adb://10.77.0.2:5555": "ready",
        "adb://emulator-5554": "offline",
        "adb://R58M12ABCDE": "unauthorised",
        "adb://0123 %2541 device x $(y)": "ready",
        "adb://ZY22": "unreachable",
        "adb://ZY23": "unreachable",
        "adb://HT4": "unreachable",
    }


def test_an_address_that_was_found_leads_back_to_the_serial_number() -> None:
    serials = [unquote(device.connect.removeprefix("adb://")) for device in adb.found(LISTING)]
    assert "0123 %41 device x $(y)" in serials


def test_a_device_that_is_not_ready_comes_with_advice_and_one_that_is_without() -> None:
    assert all((device.state == "ready") != bool(device.advice) for device in adb.found(LISTING))


def test_a_phone_is_described_by_its_model() -> None:
    assert next(adb.found(LISTING)).description == "Pixel_3"


def test_messages_around_the_list_are_no_devices() -> None:
    said = "* daemon not running; starting now at tcp:5037\n* daemon started successfully\nList of devices attached\n\n"
    assert list(adb.found(said)) == [] and adb.states(said) == {}


def test_states_belong_to_whole_serial_numbers() -> None:
    listing = "List of devices attached\nA B\tdevice\nA\toffline\n10.0.0.1:5555\tunauthorized\n\n"
    assert adb.states(listing) == {"A B": "device", "A": "offline", "10.0.0.1:5555": "unauthorized"}


@pytest.mark.parametrize("out", ["", "no newline", "a\nb\n", "\n\n", "a\r\nb\r\n", "done 0", "nonce 7\n"])
def test_output_arrives_as_it_was_printed(out: str) -> None:
    done = adb.ended(client(f"\nnonce begins\n{out}\nnonce 3\n".encode(), b"err\n"), "nonce")
    assert done is not None and (done.code, done.out, done.err) == (3, out, "err\n")


@pytest.mark.parametrize("out", [b"", b"half of the out", b"\nnonce", b"\nnonce 0", b"\nnonce 0\nmore\n", b"nonce 0\n"])
def test_output_without_the_whole_end_marker_on_its_last_line_was_cut_off(out: bytes) -> None:
    assert adb.ended(client(b"\nnonce begins\n" + out), "nonce") is None


def test_output_without_its_beginning_is_none_of_the_command() -> None:
    assert adb.ended(client(b"sh: not found\n\nnonce 0\n"), "nonce") is None


def test_what_a_terminal_makes_of_line_ends_is_undone() -> None:
    done = adb.ended(client(b"\r\nnonce begins\r\na\r\nb\r\n\r\nnonce 0\r\n"), "nonce")
    assert done is not None and done.out == "a\nb\n"


def test_a_refusal_of_the_device_is_told_from_a_broken_connection() -> None:
    full = "adb: error: failed to copy 'a' to '/x': remote write failed: No space left on device\na: 0 files pushed."
    lost = "adb: error: failed to copy 'a' to '/data/x': couldn't read from device\na: 0 files pushed."
    assert adb.refused(full) == "write failed: No space left on device" and adb.refused(lost) is None


@pytest.mark.parametrize("serial", ["", "  ", "a\nb", "a\0b", "a\x1b[2J"])
def test_what_can_be_no_serial_number_is_refused(serial: str) -> None:
    with pytest.raises(InvalidInputError, match="no serial number"):
        adb.open_shell(serial)


def test_without_adb_nothing_is_found_and_a_shell_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("ANDROID_HOME", "/nonexistent")
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    assert adb.discover() == []
    with pytest.raises(DeviceError, match="apt install adb"):
        adb.open_shell("X").run(["true"])


@pytest.mark.parametrize("variable", ["ANDROID_HOME", "ANDROID_SDK_ROOT"])
def test_adb_of_the_sdk_serves_where_path_has_none(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk = tmp_path / "s d k"
    (sdk / "platform-tools").mkdir(parents=True)
    program = sdk / "platform-tools" / "adb"
    program.write_text("#!/bin/sh\nprintf 'List of devices attached\\nfrom-sdk               device\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    monkeypatch.setenv(variable, str(sdk))
    assert [device.connect for device in adb.discover()] == ["adb://from-sdk"]


def test_adb_of_adbutils_serves_where_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binaries = tmp_path / "adbutils" / "binaries"  # the layout of adbutils 2, which need not be imported for it
    binaries.mkdir(parents=True)
    binaries.with_name("__init__.py").write_text("raise AssertionError")
    (binaries / "adb").write_text("#!/bin/sh\nprintf 'from-adbutils          device\\n'\n")
    (binaries / "adb").chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    assert [device.connect for device in adb.discover()] == ["adb://from-adbutils"]


@pytest.mark.adb
@pytest.mark.skipif(shutil.which("adb") is None, reason="adb is not installed")
def test_the_serial_number_reaches_adb_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The genuine client talks to a server of ours, which lists a phone of that name and notes what it is asked."""
    serial = "odd $(touch x); 'one\" %41"
    requests: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server, serial, requests), daemon=True).start()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.getsockname()[1]))
        with pytest.raises(LostError):
            adb.open_shell(serial).run(["true"])
        server.shutdown(socket.SHUT_RDWR)
    assert any(serial in request for request in requests), requests


def serve(server: socket.socket, serial: str, requests: list[str]) -> None:
    answers = {"host:version": "0029", "host:devices": f"{serial}\tdevice\n"}
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            request = connection.recv(int(connection.recv(4), 16)).decode()
            requests.append(request)
            answer = answers.get(request)
            connection.sendall(b"FAIL0002no" if answer is None else f"OKAY{len(answer):04x}{answer}".encode())


@pytest.mark.parametrize("noise", ["", "WARNING: linker: unused DT entry\n", "no end", "x\r\n\r\n", "nonce 0\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_a_shell_prints_before_the_command_is_none_of_its_output(noise: str, end: str) -> None:
    said = f"{noise}{end}nonce begins{end}4{end}{end}nonce 0{end}"
    done = adb.ended(client(said.encode()), "nonce")
    assert done is not None and (done.code, done.out) == (0, "4\n")


def fake_adb(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    program = folder / "adb"
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_broken_adb_is_told_by_discovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_adb(tmp_path, monkeypatch, "echo 'cannot bind 127.0.0.1:5037' >&2; exit 1")
    with pytest.raises(DeviceError, match=r"adb does not work on this computer: cannot bind"):
        adb.discover()
    (told,) = [device for device in discovered() if device.connect == "adb://"]
    assert told.state == "not usable" and "cannot bind" in told.advice


def test_a_hanging_adb_is_told_by_discovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "ANSWER_S", 0.2)
    fake_adb(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(LostError, match="adb did not answer"):
        adb.discover()


ENDLESS = "exec yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"


@pytest.mark.parametrize("redirected", ["", " >&2"])
def test_an_answer_without_end_is_not_read_to_its_end(
    redirected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bounded, "MAX_ANSWER_BYTES", 1 << 20)
    listed = '[ "$1" = devices ] && { printf "X\\tdevice\\n"; exit; }\n'
    fake_adb(tmp_path, monkeypatch, listed + ENDLESS + redirected)
    with pytest.raises(DeviceError, match="X: running uname gave more than 1 MiB"):
        adb.open_shell("X").run(["uname"])


def test_a_file_that_never_ends_is_not_fetched_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded, "MAX_ANSWER_BYTES", 1 << 20)
    lines = """
case "$1 $3" in
"devices "*) printf 'X\\tdevice\\n' ;;
*shell*) printf '\\n%s begins\\n9\\n\\n%s 0\\n' $(echo "$4" | sed -E 's/.*echo ([0-9a-f]+) begins.*/\\1 \\1/') ;;
*pull*) exec yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx >"$5" ;;
esac"""
    fake_adb(tmp_path, monkeypatch, lines)
    with pytest.raises(DeviceError, match="X: fetching /data/result gave more than 1 MiB"):
        adb.open_shell("X").pull("/data/result")


def test_a_huge_file_is_not_fetched_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = """
[ "$1" = devices ] && { printf 'X\\tdevice\\n'; exit; }
[ "$3" = shell ] || { touch "${0%/*}/pulled"; exit 1; }
printf '\\n%s begins\\n5000000000\\n\\n%s 0\\n' $(echo "$4" | sed -E 's/.*echo ([0-9a-f]+) begins.*/\\1 \\1/')"""
    fake_adb(tmp_path, monkeypatch, lines)
    with pytest.raises(DeviceError, match="X: the file /data/result gave more than 64 MiB"):
        adb.open_shell("X").pull("/data/result")
    assert not (tmp_path / "pulled").exists()
