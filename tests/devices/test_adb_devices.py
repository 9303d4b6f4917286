"""What the commands say of phones in every state, and that no word of a user's reaches a shell."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from profilers import patience
from profilers.runners import bundle
from profilers.shells import adb

from .lab import Phone
from .scenes import Scene, brief, scene

pytestmark = [pytest.mark.adb, pytest.mark.usefixtures("brief")]
__all__ = ["brief"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "PATIENCE_S", 1.0)
    monkeypatch.setattr(adb, "PROBE_S", 1.0)
    monkeypatch.setattr(adb, "CONNECT_S", 3.0)


@pytest.fixture
def on_phone(phone: Phone, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    """A phone that lets everybody in, ready to be profiled."""
    return scene(phone, tmp_path, capsys)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def row(of: Scene, device: str = "phone") -> dict[str, str]:
    listed = of.hwnas("devices", "--json")
    assert listed.code == 0 and not listed.err, listed
    [found] = [row for row in listed.json if row["device"] == device]
    return found


def test_a_phone_that_is_ready_is_listed_so_with_its_machine(on_phone: Scene) -> None:
    found = row(on_phone)
    assert (found["state"], found["advice"], found["machine"]) == ("ready", "", "x86_64")
    assert row(on_phone, "host")["state"] == "ready"


def test_a_phone_that_nobody_has_configured_is_discovered(phone: Phone, on_phone: Scene) -> None:
    (on_phone.workspace / "devices.toml").unlink()
    phone.adb("connect", phone.serial)
    found = row(on_phone, "")
    assert (found["connect"], found["state"]) == (f"adb://{phone.serial}", "ready")
    assert found["advice"] == f"hwnas devices add NAME --connect adb://{phone.serial}"
    assert on_phone.hwnas("devices", "add", "found", *found["advice"].split()[4:], "--only-here").code == 0
    assert row(on_phone, "found")["state"] == "ready"


def test_a_phone_without_our_key_is_listed_as_unauthorised(
    secure_phone: Phone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_phone = scene(secure_phone, tmp_path, capsys)
    secure_phone.adb("connect", secure_phone.serial)
    found = row(on_phone)
    assert found["state"] == "unauthorised" and found["advice"].startswith("accept this computer's key on its screen")
    secure_phone.authorise()
    assert row(on_phone)["state"] == "ready"


def test_a_phone_that_is_off_is_listed_as_unreachable(phone: Phone, on_phone: Scene) -> None:
    phone.kill()
    assert "unreachable" in on_phone.hwnas("devices").out
    found = row(on_phone)
    assert found["state"] == "unreachable" and "is the cable plugged in or the address right" in found["advice"]
    phone.start()
    assert row(on_phone)["state"] == "ready"


def test_a_phone_that_takes_connections_and_says_nothing_is_listed_as_offline(
    on_phone: Scene, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.1)
    on_phone.hwnas("devices", "add", "mute", "--connect", f"adb://127.0.0.1:{silent_port}", "--only-here")
    found = row(on_phone, "mute")
    assert (found["state"], found["advice"]) == ("offline", "replug its cable or restart it")
    refused = on_phone.profile("mute")
    assert refused.code == 4 and "given up after" in refused.complaint


def test_an_adb_server_that_several_look_ups_start_at_once_is_started(phone: Phone, on_phone: Scene) -> None:
    names = [f"again{number}" for number in range(6)]
    for name in names:
        on_phone.hwnas("devices", "add", name, "--connect", f"adb://{phone.serial}", "--only-here")
    phone.adb("kill-server")
    assert {found["state"] for found in on_phone.hwnas("devices", "--json").json} == {"ready"}


def test_a_serial_number_that_is_not_there_is_told(on_phone: Scene) -> None:
    on_phone.hwnas("devices", "add", "lost", "--connect", "adb://R58M12ABCDE", "--only-here")
    found = row(on_phone, "lost")
    assert found["state"] == "unreachable" and "R58M12ABCDE is unreachable" in found["advice"]
    refused = on_phone.profile("lost")
    assert refused.code == 4 and "R58M12ABCDE is unreachable (adb: not listed)" in refused.complaint


def test_without_adb_the_way_to_get_it_is_told(on_phone: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    without_adb = [f for f in os.environ["PATH"].split(":") if not Path(f, "adb").exists()]
    monkeypatch.setenv("PATH", ":".join(without_adb))
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    if shutil.which("adb") or adb.find_spec("adbutils"):
        pytest.skip("adb is in too many places here to be hidden")
    found = row(on_phone)
    assert found["state"] == "not usable" and "adb is not installed: apt install adb" in found["advice"]
    refused = on_phone.profile()
    assert refused.code == 4 and "adb is not installed: apt install adb" in refused.complaint


def test_a_machine_that_no_runner_can_be_built_for_is_listed_as_runner_missing(
    on_phone: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "LOADERS", {"aarch64": "ld-linux-aarch64.so.1"})
    found = row(on_phone)
    assert found["state"] == "runner missing" and "x86_64" in found["advice"]


@pytest.mark.parametrize(
    "word", ["$(touch canary)", "`touch canary`", "a;touch canary", "' touch canary '", '";touch canary"']
)
def test_no_word_of_a_user_reaches_a_shell(
    phone: Phone, on_phone: Scene, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    phone.path("/").chmod(0o777)
    monkeypatch.setattr(patience, "PATIENCE_S", 0.1)
    devices = {
        "serial": ("--connect", f"adb://{word}"),
        "tool": ("--connect", f"adb://{phone.serial}", "--runner", f"/data/local/tmp/{word}/onnxruntime_perf_test"),
        "python": ("--connect", f"adb://{phone.serial}", "--runner", f"python3 {word}"),
    }
    for name, options in devices.items():
        assert on_phone.hwnas("devices", "add", name, *options, "--only-here").code == 0
        refused = on_phone.profile(name)
        assert refused.code == 4 and word in refused.complaint
    states = {found["device"]: found["state"] for found in on_phone.hwnas("devices", "--json").json}
    assert {name: states[name] for name in devices} == {
        "serial": "unreachable", "tool": "runner missing", "python": "runner missing"
    }  # fmt: skip
    assert not list(tmp_path.rglob("canary")) and not (phone.path("/") / "canary").exists()
    phone.adb("shell", "touch canary")
    assert (phone.path("/") / "canary").exists()  # it could have been made
