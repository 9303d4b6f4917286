"""A board breaks while the command profiles it: what was measured is kept, and nothing stays behind on the board."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lut.blocks import chain
from lut.layers import random_weights
from profilers.device import Device
from profilers.profiler import open_profiler

from ..kit import TINY, Outcome
from .lab import Board, Phone
from .namespaces import arguments_of, processes_in, wait_until
from .sabotage import DIES_OF_A_SIZE, mend, settle, tamper
from .scenes import PLAN, ROUNDS, Scene, brief, scene

pytestmark = [pytest.mark.ssh, pytest.mark.usefixtures("brief")]
__all__ = ["brief"]


@pytest.fixture
def on_board(board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    """A board that works, ready to be profiled."""
    return scene(board, tmp_path, capsys)


def ended(run: "subprocess.Popen[str]") -> Outcome:
    out, err = run.communicate(timeout=60)
    return Outcome(run.returncode, out, err)


def runner_of(device: Board | Phone) -> int:
    """The process that measures on a device, by its id here."""
    on_device = {pid: arguments_of(pid) for pid in processes_in("net", device.network.device_pid)}
    return max((pid for pid, words in on_device.items() if any(w.endswith("/runner") for w in words)), default=0)


def results(scene: Scene) -> Iterator[Path]:
    """The result files on the board, the newest last."""
    yield from sorted(scene.folder.glob("run-*/job*/result"), key=lambda path: path.stat().st_mtime)


def test_a_killed_sshd_that_comes_back_costs_nothing_but_time(on_board: Scene) -> None:
    with on_board.in_mid_run(on_board.device.kill, lambda: time.sleep(2), on_board.device.start):
        done = on_board.profile()
    on_board.assert_whole(done)
    assert "no ssh server answers" in done.err and "trying again for 6 s" in done.err


def test_a_board_that_stays_away_is_given_up_and_the_same_command_goes_on_later(on_board: Scene) -> None:
    with on_board.in_mid_run(on_board.device.kill):
        done = on_board.profile()
    assert done.code == 4
    assert "given up after 6 s, what was measured is kept" in done.complaint
    on_board.device.start()
    on_board.assert_whole(on_board.profile())


def test_a_link_that_is_down_for_5_s_costs_nothing_but_time(on_board: Scene) -> None:
    network = on_board.device.network
    with on_board.in_mid_run(network.down, lambda: time.sleep(5), network.up):
        done = on_board.profile()
    on_board.assert_whole(done)


def test_without_link_the_runner_ends_by_itself_and_the_next_run_clears_up(on_board: Scene) -> None:
    with on_board.in_mid_run(on_board.device.network.down):
        done = on_board.profile()
    assert done.code == 4 and "given up after 6 s" in done.complaint
    wait_until(lambda: not runner_of(on_board.device), "the runner goes on", 10)
    on_board.device.network.up()
    on_board.assert_whole(on_board.profile())


@pytest.mark.parametrize("percent", [5, 20])
def test_lost_packets_lose_no_visits(on_board: Scene, percent: int) -> None:
    rules = (
        "add table inet loss; add chain inet loss in { type filter hook input priority 0; }; "
        f"add rule inet loss in numgen random mod 100 < {percent} drop"
    )
    enter = ["nsenter", f"--target={on_board.device.network.device_pid}", "--net"]
    with on_board.in_mid_run(lambda: subprocess.run([*enter, "nft", rules], check=True)):
        done = on_board.profile()
    subprocess.run([*enter, "nft", "delete table inet loss"], check=True)
    on_board.assert_whole(done)


@pytest.mark.parametrize(("what", "leave"), [("runner", 1_000_000), ("models", 60_000)])
def test_a_disk_too_full_is_told_until_there_is_room(on_board: Scene, what: str, leave: int) -> None:
    if what == "models":
        settle(on_board)
    on_board.device.fill(leave=leave)
    done = on_board.profile()
    assert done.code == 4
    assert "MB were to be written" in done.complaint and "make room there" in done.complaint
    on_board.assert_nothing_left()
    on_board.device.free()
    on_board.assert_whole(on_board.profile())


def test_a_disk_that_fills_up_in_mid_run_is_told_until_there_is_room(on_board: Scene) -> None:
    with on_board.in_mid_run(lambda: on_board.device.fill(leave=8192)):
        done = on_board.profile()
    assert done.code == 4 and "make room there" in done.complaint, done
    on_board.assert_nothing_left()
    on_board.device.free()
    on_board.assert_whole(on_board.profile())


def test_a_runner_that_dies_of_one_model_costs_that_model_alone(on_board: Scene) -> None:
    rng = np.random.default_rng(0)
    with open_profiler(Device(name="any")) as profiler:
        files = {b.key: profiler.model(chain([(b, random_weights(rng))], 1), inner=True) for b in TINY.vocabulary}
    sizes = {name: len(file.content) for name, file in files.items()}
    victim = next(name for name, size in sizes.items() if list(sizes.values()).count(size) == 1)
    tamper(on_board, DIES_OF_A_SIZE, f"-DSIZE={sizes[victim]}")
    done = on_board.profile()
    assert done.code == 4
    assert done.complaint.startswith(f"hwnas: board cannot run {victim}: the runner died of it"), done
    assert "everything else was measured and is kept" in done.complaint
    on_board.assert_nothing_left()
    assert victim not in on_board.table.visits
    assert all(len(visits) >= ROUNDS for visits in on_board.table.visits.values())
    mend(on_board)
    on_board.assert_whole(on_board.profile())


def test_two_at_once_are_refused_by_name_and_the_first_is_not_disturbed(on_board: Scene) -> None:
    with on_board.start_profile() as first:
        wait_until(lambda: on_board.rounds() > 0, "no round came", 30)
        second = on_board.profile()
        done = ended(first)
    assert second.code == 4
    assert f"in use by the hwnas on {os.uname().nodename} (process {first.pid})" in second.complaint
    on_board.assert_whole(done)
    assert on_board.profile().code == 0


def test_after_a_killed_hwnas_the_next_one_ends_its_runner_and_goes_on(on_board: Scene) -> None:
    with on_board.start_profile() as killed, on_board.in_mid_run(killed.kill):
        ended(killed)
    left = runner_of(on_board.device)
    assert left
    on_board.assert_whole(on_board.profile())
    assert not Path(f"/proc/{left}").exists()


def test_ctrl_c_leaves_nothing_on_the_board(on_board: Scene) -> None:
    with on_board.start_profile() as run, on_board.in_mid_run(lambda: run.send_signal(signal.SIGINT)):
        done = ended(run)
    assert done.code == 130 and "what was finished is kept" in done.complaint
    on_board.assert_nothing_left()
    on_board.assert_whole(on_board.profile())


@pytest.mark.parametrize("damage", ["truncated", "foreign", "garbage"])
def test_a_damaged_result_is_never_believed(on_board: Scene, damage: str) -> None:
    def spoil() -> None:
        *_, result = results(on_board)
        if damage == "truncated":
            os.truncate(result, result.stat().st_size // 3)
        elif damage == "foreign":
            result.with_name("other").write_text("hwnas-result 1 0123456789abcdef\nvisit 0 0 1.0 1.0 0\nend 1\n" * 9000)
            result.with_name("other").rename(result)
        else:
            with result.open("ab") as file:
                file.write(b"visit 1 1 \xff\0 nonsense\n")

    with on_board.in_mid_run(spoil):
        done = on_board.profile()
    assert done.code in (0, 4)
    if done.code == 4:  # which of them depends on how much had been read when the damage came
        found = re.search(
            r"the device's result file (holds '|was cut to \d+ bytes|is not the one that was read)", done.complaint
        )
        assert found, done.complaint
    on_board.assert_nothing_left()
    on_board.assert_whole(on_board.profile())
    assert all(len(visits) <= 3 * PLAN.max_rounds for visits in on_board.table.visits.values())
