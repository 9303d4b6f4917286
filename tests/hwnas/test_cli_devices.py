"""`hwnas devices` says what there is and how it is; several devices are profiled at once, each for itself."""

import os
import sys
from pathlib import Path

import pytest

from profilers.backends import fake
from profilers.errors import LostError
from profilers.local import LOADS
from profilers.shells import ssh

pytestmark = pytest.mark.usefixtures("no_settings", "no_programs")


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No adb, so that no device of the person who runs the tests is seen."""
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "adbutils", None)
    monkeypatch.setenv("HOME", str(tmp_path))


def write(workspace: Path, text: str) -> None:
    workspace.mkdir(exist_ok=True)
    (workspace / "devices.toml").write_text(text)


TWO = '[a]\nruntime = "fake"\n[b]\nruntime = "fake"\nthreads = 2\n'
AWAY = '[phone]\nconnect = "adb://nowhere"\n'


def test_this_machine_and_what_is_configured_are_listed_with_their_state(hwnas, tmp_path) -> None:
    write(tmp_path, TWO + AWAY)
    done = hwnas("devices", "--workspace", tmp_path, "--json")
    rows = {row["device"]: row for row in done.json}
    assert done.code == 0 and list(rows) == ["host", "a", "b", "phone"]
    assert {name: rows[name]["state"] for name in ("host", "a", "b")} == dict.fromkeys(("host", "a", "b"), "ready")
    assert rows["b"]["threads"] == 2 and rows["a"]["machine"] == "fake"
    assert rows["phone"]["state"] != "ready" and "adb" in rows["phone"]["advice"]


def test_the_table_of_devices_names_them_all(hwnas, tmp_path) -> None:
    write(tmp_path, TWO)
    done = hwnas("devices", "--workspace", tmp_path)
    assert done.code == 0 and all(word in done.out for word in ("host", "ready", "fake"))


def test_a_runtime_that_is_missing_is_a_state_and_no_failure(hwnas, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = hwnas("devices", "--workspace", tmp_path, "--json")
    (row,) = done.json
    assert done.code == 0 and row["state"] == "not usable" and "onnxruntime is not installed" in row["advice"]


def test_a_board_that_does_not_answer_is_unreachable(hwnas, tmp_path, monkeypatch) -> None:
    def lost(*_: object) -> None:
        raise LostError("pi does not answer: is it on?")

    monkeypatch.setattr(ssh.SshShell, "run", lost)
    write(tmp_path, '[pi]\nconnect = "ssh://pi"\n')
    row = hwnas("devices", "--workspace", tmp_path, "--json").json[1]
    assert (row["state"], row["advice"]) == ("unreachable", "pi does not answer: is it on?")


def test_a_device_is_added_for_all_workspaces_or_for_this_one(hwnas, tmp_path) -> None:
    of_user = Path(os.environ["XDG_CONFIG_HOME"], "hwnas", "devices.toml")
    here = ("--workspace", tmp_path)
    done = hwnas(
        "devices", "add", "pi", "--connect", "ssh://pi@board:2222", "--cpus", "2, 3", "--cooldown", "5s", *here
    )
    assert done.code == 0 and "hwnas devices check pi" in done.err
    assert of_user.read_text() == ('["pi"]\nconnect = "ssh://pi@board:2222"\ncpus = [2, 3]\ncooldown_s = 5.0\n')
    assert hwnas("devices", "add", "toy", "--connect", "local", "--runtime", "fake", "--only-here", *here).code == 0
    assert (tmp_path / "devices.toml").read_text() == '["toy"]\nruntime = "fake"\n'
    assert hwnas("devices", "check", "toy", *here).code == 0


def test_a_name_that_is_taken_is_refused(hwnas, tmp_path, files) -> None:
    add = ("devices", "add", "toy", "--connect", "local", "--runtime", "fake", "--only-here", "--workspace", tmp_path)
    assert hwnas(*add).code == 0
    before = files(tmp_path)
    done = hwnas(*add)
    assert done.code == 3 and "has a device 'toy' already: choose another name" in done.refusal
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("to/y", "--connect", "local"), "'to/y' is no device name"),
        (("../toy", "--connect", "local"), "is no device name"),
        (("toy", "--connect", "nowhere"), "'nowhere' is no address"),
        (("toy", "--connect", "usb://1"), "unknown connection 'usb': there is adb, ssh"),
        (("toy", "--connect", "ssh://"), "is no address"),
        (("toy", "--connect", "ssh://a b"), "'a b' is no address for ssh"),
        (("toy", "--connect", "ssh://-oProxyCommand=id"), "is no address for ssh"),
        (("toy", "--connect", "ssh://pi", "--runtime", "toaster"), "unknown runtime 'toaster'"),
        (("toy", "--connect", "ssh://pi", "--runtime", "fake"), "our own runner measures with onnxruntime"),
        (("toy", "--connect", "ssh://pi", "--runtime", "litert"), 'give the device runner = "python3"'),
        (("toy", "--connect", "ssh://pi", "--runner", "/bin/rm"), "'/bin/rm' is no runner"),
        (("toy", "--connect", "local", "--runner", "python3"), "a local device has no runner"),
        (("toy", "--connect", "ssh://pi", "--precision", "fp4"), "unknown precision"),
        (("toy", "--connect", "ssh://pi", "--clock", "sun"), "unknown clock 'sun': there is cpu, wall"),
        (("toy", "--connect", "ssh://pi", "--threads", "0"), "whole numbers from 1 on"),
        (("toy", "--connect", "ssh://pi", "--cpus", "0-3"), "'0-3' is no list of CPUs"),
        (("toy", "--connect", "ssh://pi", "--cpus", "1,,2"), "is no list of CPUs"),
        (("toy", "--connect", "ssh://pi", "--cooldown", "long"), "'long'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_device_that_cannot_be_is_not_added(hwnas, tmp_path, files, arguments, message) -> None:
    done = hwnas("devices", "add", *arguments, "--only-here", "--workspace", tmp_path)
    assert done.code == 3 and message in done.refusal
    assert not files(tmp_path)


def test_a_device_that_works_is_said_to_repeat_itself(hwnas, tmp_path) -> None:
    write(tmp_path, TWO)
    done = hwnas("devices", "check", "a", "--workspace", tmp_path, "--json")
    assert done.code == 0 and done.json["apart_pct"] < 1 and done.json["runtime"] == "fake 1"
    assert done.json["latency_ms"] == pytest.approx(done.json["again_ms"], rel=0.01)
    assert done.json["seconds"] < 10


def test_a_device_that_does_not_repeat_itself_is_not_trusted(hwnas, tmp_path, monkeypatch) -> None:
    price, costs = fake.price_ms, iter([1.0] * LOADS + [1.2, 1.0] * LOADS)  # sentinel; first and second in turn
    monkeypatch.setattr(fake, "price_ms", lambda content: price(content) * next(costs))
    write(tmp_path, TWO)
    done = hwnas("devices", "check", "a", "--workspace", tmp_path)
    assert done.code == 5 and "a works, but the same model took" in done.refusal


@pytest.mark.parametrize(("name", "code"), [("phone", 4), ("toaster", 3)])
def test_a_device_that_is_not_there_fails_its_check(hwnas, tmp_path, name: str, code: int) -> None:
    write(tmp_path, AWAY)
    done = hwnas("devices", "check", name, "--workspace", tmp_path)
    assert done.code == code and done.refusal


def tables(workspace: Path) -> list[str]:
    return sorted(path.name for path in (workspace / "tables").glob("*.jsonl"))


SMALL = ("--resolution", "16", "--space", "digits@0.25", "--quick")


def test_several_devices_are_profiled_by_one_command(hwnas, tmp_path) -> None:
    write(tmp_path, TWO)
    done = hwnas("profile", "--device", "a,b", *SMALL, "--workspace", tmp_path, "--json")
    assert done.code == 0 and [facts["device"] for facts in done.json] == ["a", "b"]
    assert all(not facts["unconverged"] and facts["measured_models"] > 0 for facts in done.json)
    assert tables(tmp_path) == ["a-fake-fp32-t1-b1.jsonl", "b-fake-fp32-t2-b1.jsonl"]
    again = hwnas("profile", "--device", "a,b", *SMALL, "--workspace", tmp_path)
    assert again.code == 0 and again.out.count(" within ±3 %") == 2


def test_one_device_alone_is_told_as_ever(hwnas, tmp_path) -> None:
    write(tmp_path, TWO)
    done = hwnas("profile", "--device", "a", *SMALL, "--workspace", tmp_path, "--json")
    assert done.code == 0 and done.only["device"] == "a"


@pytest.mark.parametrize("order", ["phone,a", "a,phone"])
def test_a_device_that_fails_stops_no_other_and_decides_the_exit_code(hwnas, tmp_path, order: str) -> None:
    write(tmp_path, TWO + AWAY)
    done = hwnas("profile", "--device", order, *SMALL, "--workspace", tmp_path, "--json")
    assert done.code == 4 and tables(tmp_path) == ["a-fake-fp32-t1-b1.jsonl"]
    facts = {one["device"]: one for one in done.json}
    assert list(facts) == order.split(",")
    assert facts["phone"]["exit_code"] == 4 and "adb" in facts["phone"]["error"]
    assert not facts["a"]["unconverged"] and "error" not in facts["a"]
    shown = hwnas("profile", "--device", order, *SMALL, "--workspace", tmp_path)
    assert shown.code == 4 and " a " in shown.out and "phone: " in shown.err


def test_a_device_alone_that_fails_is_one_line(hwnas, tmp_path) -> None:
    write(tmp_path, AWAY)
    done = hwnas("profile", "--device", "phone", *SMALL, "--workspace", tmp_path, "--json")
    assert done.code == 4 and "adb" in done.refusal


def test_of_several_devices_one_that_is_unknown_stops_all_before_they_begin(hwnas, tmp_path) -> None:
    write(tmp_path, TWO)
    done = hwnas("profile", "--device", "a,toaster", *SMALL, "--workspace", tmp_path)
    assert done.code == 3 and "unknown device 'toaster'" in done.refusal and not tables(tmp_path)


def test_a_cooldown_that_is_no_time_is_refused(hwnas, tmp_path) -> None:
    write(tmp_path, TWO)
    done = hwnas("profile", "--device", "a", "--cooldown", "long", *SMALL, "--workspace", tmp_path)
    assert done.code == 3 and "'long'" in done.refusal
