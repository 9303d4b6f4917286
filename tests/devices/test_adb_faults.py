"""A phone goes away while the command profiles it: what was measured is kept, and nothing stays behind on the phone."""

import signal
import time
from pathlib import Path

import pytest

from profilers.shells import adb

from .lab import Phone
from .namespaces import wait_until
from .scenes import Scene, brief, scene

pytestmark = [pytest.mark.adb, pytest.mark.usefixtures("brief")]
__all__ = ["brief"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "PATIENCE_S", 1.0)
    monkeypatch.setattr(adb, "PROBE_S", 1.0)


@pytest.fixture
def on_phone(phone: Phone, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    """A phone that lets everybody in, ready to be profiled."""
    return scene(phone, tmp_path, capsys)


def connect_again(phone: Phone) -> None:
    """A key is asked for when a connection begins."""
    phone.adb("disconnect", phone.serial)


def test_adbd_killed_and_started_again_costs_nothing_but_time(phone: Phone, on_phone: Scene) -> None:
    with on_phone.in_mid_run(phone.kill, lambda: time.sleep(1), phone.start):
        done = on_phone.profile()
    on_phone.assert_whole(done)
    assert "phone: 10.77.0.2:5555 is " in done.err and "; trying again for 6 s" in done.err


def test_adbd_killed_for_good_ends_the_command_which_goes_on_when_it_is_back(phone: Phone, on_phone: Scene) -> None:
    with on_phone.in_mid_run(phone.kill):
        done = on_phone.profile()
    assert (done.code, done.out) == (4, "")
    assert done.complaint.startswith("hwnas: 10.77.0.2:5555 is unreachable (adb: ")
    assert done.complaint.endswith("given up after 6 s, what was measured is kept")
    before = on_phone.rounds()
    phone.start()
    on_phone.assert_whole(on_phone.profile())
    assert before > 0


def test_adb_disconnect_costs_nothing_but_time(phone: Phone, on_phone: Scene) -> None:
    with on_phone.in_mid_run(lambda: phone.adb("disconnect", phone.serial)):
        done = on_phone.profile()
    on_phone.assert_whole(done)


def test_an_adb_server_that_is_ended_costs_nothing_but_time(phone: Phone, on_phone: Scene) -> None:
    with on_phone.in_mid_run(lambda: phone.adb("kill-server")):
        done = on_phone.profile()
    on_phone.assert_whole(done)


def test_a_link_that_is_down_for_five_seconds_costs_nothing_but_time(phone: Phone, on_phone: Scene) -> None:
    with on_phone.in_mid_run(phone.network.down, lambda: time.sleep(5), phone.network.up):
        done = on_phone.profile()
    on_phone.assert_whole(done)
    assert "trying again" in done.err


def test_a_link_that_stays_down_leaves_a_runner_that_ends_by_itself(phone: Phone, on_phone: Scene) -> None:
    with on_phone.in_mid_run(phone.network.down):
        done = on_phone.profile()
    assert (done.code, done.out) == (4, "")
    assert done.complaint.endswith("given up after 6 s, what was measured is kept")
    wait_until(lambda: not phone.processes(), f"{phone.processes()} still run", 10)
    assert {path.name[:4] for path in on_phone.folder.iterdir()} == {"lock", "run-", "runn"}
    phone.network.up()
    on_phone.assert_whole(on_phone.profile())


def test_a_key_that_is_revoked_in_mid_run_keeps_the_table(
    secure_phone: Phone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_phone = scene(secure_phone, tmp_path, capsys)
    refused = on_phone.profile()
    assert (refused.code, refused.out) == (4, "")
    assert "is unauthorised (adb: unauthorized): accept this computer's key on its screen" in refused.complaint
    assert not on_phone.table_path.exists()
    secure_phone.authorise()
    with on_phone.in_mid_run(secure_phone.revoke, lambda: connect_again(secure_phone)):
        refused = on_phone.profile()
    assert (refused.code, refused.out) == (4, "")
    assert "is unauthorised (adb: unauthorized): accept this computer's key on its screen" in refused.complaint
    secure_phone.authorise()
    on_phone.assert_whole(on_phone.profile())


def test_a_second_hwnas_is_told_who_has_the_phone_and_does_not_disturb_it(on_phone: Scene) -> None:
    with on_phone.start_profile() as first:
        wait_until(lambda: on_phone.rounds() > 0, "no round came", 30)
        second = on_phone.profile()
        assert first.poll() is None and second.code == 4
        assert f"in use by the hwnas on {Path('/proc/sys/kernel/hostname').read_text().strip()}" in second.complaint
        assert f"(process {first.pid}): wait until that has ended" in second.complaint
        ended = first.communicate(timeout=60)
    assert first.returncode == 0, ended
    on_phone.assert_nothing_left()
    on_phone.assert_whole(on_phone.profile())


def test_what_a_killed_hwnas_left_is_found_and_removed(phone: Phone, on_phone: Scene) -> None:
    with on_phone.start_profile() as first:
        wait_until(lambda: on_phone.rounds() > 0, "no round came", 30)
        first.kill()
    assert len(phone.processes()) == 1 and "/runner" in phone.processes()[0]
    assert {path.name[:4] for path in on_phone.folder.iterdir()} == {"lock", "run-", "runn"}
    on_phone.assert_whole(on_phone.profile())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(on_phone: Scene, number: signal.Signals) -> None:
    with on_phone.start_profile() as command:
        wait_until(lambda: on_phone.rounds() > 0, "no round came", 30)
        command.send_signal(number)
        out, err = command.communicate(timeout=20)
    assert (command.returncode, out) == (130, "")
    assert err.endswith("hwnas: interrupted; what was finished is kept, the same command goes on from there\n")
    assert "Traceback" not in err
    on_phone.assert_nothing_left()
    assert on_phone.table.visits
