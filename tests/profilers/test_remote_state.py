"""A device at the far end says what it is and how it is, and is left alone where heat slows it."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from profilers import remote
from profilers.device import fingerprint
from profilers.remote import RemoteProfiler

from .conftest import Open
from .local_shell import LocalShell
from .test_remote import MODELS, PLAN, whole_rounds


@pytest.fixture
def clocks(board: LocalShell, tmp_path: Path):
    """Sets what the board's system lets its two cores reach, in MHz."""
    board.system = tmp_path / "system"  # a path without spaces, as /sys is

    def write(*allowed_mhz: int) -> None:
        for cpu, mhz in enumerate(allowed_mhz):
            folder = board.system / "sys/devices/system/cpu" / f"cpu{cpu}" / "cpufreq"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "scaling_max_freq").write_text(f"{1000 * mhz}\n")
            (folder / "scaling_governor").write_text("schedutil")  # without an end of line

    return write


def test_the_fingerprint_is_the_machines_own(scripted: Open) -> None:
    with scripted(threads=2, cpus=(1, 3)) as profiler:
        found = profiler.fingerprint()
        here = fingerprint(replace(profiler.device, name="host", connect="local", runner=""))
    assert found.machine == here.machine and platform.machine() in found.machine
    assert (found.cores, found.threads, found.cpus, found.runner) == (os.cpu_count(), 2, "1,3", "native")
    assert (found.runtime, found.runtime_version) == ("onnxruntime", "1.0")


def test_the_state_is_what_the_files_of_the_device_say(scripted: Open, clocks, board: LocalShell) -> None:
    clocks(1500, 2500)
    zone = board.system / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("41500\n")
    with scripted() as profiler:
        state = profiler.state()
    assert state["allowed_mhz"] == 2000 and state["governor"] == "schedutil" and state["max_celsius"] == 41.5
    assert float(state["load"]) >= 0 and "stolen_s" in state


def test_a_device_without_sensors_has_a_state_too(scripted: Open, clocks) -> None:
    with scripted() as profiler:
        assert not {"allowed_mhz", "governor", "max_celsius", "battery"} & profiler.state().keys()


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is looked at after every round."""
    monkeypatch.setattr(remote, "STRETCH_S", 0.001)
    monkeypatch.setattr(remote, "LOADING_SHARE", 0.0)


ROUNDS = 9


def rested(profiler: RemoteProfiler, monkeypatch: pytest.MonkeyPatch, while_measured: Callable[[int], None]) -> list:
    """How long the device was left alone, each time, and how many rounds had been measured by then."""
    found, rounds = list[tuple[float, int]](), 0
    monkeypatch.setattr(profiler, "_rest", lambda seconds: found.append((seconds, rounds)))
    for _ in whole_rounds(profiler.measure(MODELS, replace(PLAN, max_rounds=ROUNDS))):
        rounds += 1
        while_measured(rounds)
    assert rounds == ROUNDS
    return found


def test_a_hot_device_is_left_alone_until_it_has_cooled(scripted, clocks, monkeypatch, short_stretches) -> None:
    clocks(2000, 2000)
    told = list[str]()
    with scripted(told.append, cooldown_s=12) as profiler:
        found = rested(profiler, monkeypatch, lambda rounds: clocks(2000, 1500 if rounds in (3, 4) else 2000))
    assert found == [(12.0, 3), (12.0, 4)]
    assert told[1:] == ["it got slower by heat: left alone for 12 s"] * 2


def test_a_device_that_does_not_cool_is_measured_all_the_same(scripted, clocks, monkeypatch, short_stretches) -> None:
    clocks(2000, 2000)
    with scripted() as profiler:
        found = rested(profiler, monkeypatch, lambda _: clocks(2000, 1500))
    assert len(found) == remote.COOL_DOWNS < ROUNDS


@pytest.mark.parametrize("heated_to_ms", ["0.110000", "0.150000"])
def test_a_device_without_clocks_is_judged_by_the_sentinel(
    scripted, board, monkeypatch, short_stretches, heated_to_ms
) -> None:
    board.system = board.home / "none"
    with scripted() as profiler:
        _ = profiler.fingerprint()
        script = next(board.place.glob("runner-*/*.sh"))

        def heat(rounds: int) -> None:
            script.write_text(script.read_text().replace("0.100000", heated_to_ms))

        assert len(rested(profiler, monkeypatch, heat)) == (remote.COOL_DOWNS if heated_to_ms == "0.150000" else 0)


def test_a_device_is_left_alone_for_as_long_as_asked_and_held_meanwhile(
    scripted, clocks, board, short_stretches
) -> None:
    clocks(2000)
    with scripted(cooldown_s=0.3) as profiler:
        began = time.monotonic()
        for _ in profiler.measure(MODELS, PLAN):
            clocks(1000)
        assert time.monotonic() - began > 0.3
        assert (board.place / "lock" / "beat").read_text().strip().isdigit()
