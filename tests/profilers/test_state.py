"""The state of a machine is what its files say, and what they do not say is left out."""

import math
import os
from pathlib import Path

import pytest

from profilers import state
from profilers.device import Device
from profilers.profiler import open_profiler
from profilers.state import BATTERY_SERVICE, machine_state, state_of

LOAD = 1.25


class Machine:
    """A machine whose files lie in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def clocks(self, *khz: object) -> None:
        for cpu, value in enumerate(khz):
            self.write(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq", f"{value}\n")

    def zones(self, *millicelsius: object) -> None:
        for zone, value in enumerate(millicelsius):
            self.write(f"sys/class/thermal/thermal_zone{zone}/temp", f"{value}\n")

    def cpuinfo(self, *mhz: float) -> None:
        cpus = (f"processor\t: {i}\nmodel name\t: any\ncpu MHz\t\t: {value:.3f}\n\n" for i, value in enumerate(mhz))
        self.write("proc/cpuinfo", "".join(cpus))

    def stat(self, *columns: int) -> None:
        self.write("proc/stat", f"cpu  {' '.join(map(str, columns))}\ncpu0 {' '.join(['7'] * len(columns))}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that tells its load only."""
    monkeypatch.setattr(state, "_ROOT", tmp_path)
    found = Machine(tmp_path)
    found.write("proc/loadavg", f"{LOAD} 2.50 5.00 2/345 6789\n")
    return found


def test_a_machine_that_tells_everything_is_quoted(machine: Machine) -> None:
    machine.clocks(800_000, 2_400_000, 1_600_000)
    machine.zones(38_500, 61_250, 40_000)
    machine.stat(1, 2, 3, 4, 5, 6, 7, 350, 9, 10)
    ticks = os.sysconf("SC_CLK_TCK")
    assert machine_state() == {
        "min_mhz": 800, "max_mhz": 2400, "max_celsius": 61.25, "load": LOAD, "stolen_s": round(350 / ticks, 2),
    }  # fmt: skip


def test_a_machine_without_any_files_tells_its_load_only(machine: Machine) -> None:
    assert machine_state() == {"load": LOAD}


@pytest.mark.parametrize("content", [None, "", "unknown\n"])
def test_a_load_that_cannot_be_found_out_is_left_out(machine: Machine, content: str | None) -> None:
    (machine.root / "proc/loadavg").unlink()
    if content is not None:
        machine.write("proc/loadavg", content)
    machine.zones(40_000)
    assert machine_state() == {"max_celsius": 40}


def test_what_heat_and_the_user_allow_the_clocks_is_told(machine: Machine) -> None:
    for cpu, khz in enumerate((1_800_000, 1_800_000, 2_400_000, 2_000_000)):
        machine.write(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_max_freq", f"{khz}\n")
        machine.write(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", "schedutil\n")
    assert machine_state() == {"allowed_mhz": 2000, "governor": "schedutil", "load": LOAD}


def test_a_phone_tells_its_battery(machine: Machine) -> None:
    machine.write("sys/class/power_supply/battery/capacity", "83\n")
    machine.write("sys/class/power_supply/battery/status", "Not charging\n")
    assert machine_state() == {"battery_pct": 83, "battery": "Not charging", "load": LOAD}


def test_a_phone_whose_files_are_closed_tells_its_battery_by_its_service() -> None:
    """As Android 14 prints it, shortened."""
    said = "Current Battery Service state:\n  status: 2\n  level: 87\n  scale: 100\n  temperature: 312\n"
    assert state_of({BATTERY_SERVICE: said}) == {"battery_pct": 87, "battery_celsius": 31.2, "battery": "Charging"}
    assert state_of({BATTERY_SERVICE: "Can't find service: battery\n"}) == {}


def test_without_a_governor_the_clocks_are_those_of_cpuinfo(machine: Machine) -> None:
    machine.cpuinfo(2199.998, 3100.25)
    assert machine_state() == {"min_mhz": 2200, "max_mhz": 3100.25, "load": LOAD}


def test_the_governors_clocks_go_before_those_of_cpuinfo(machine: Machine) -> None:
    machine.cpuinfo(2199.998)
    machine.clocks(1_000_000)
    assert machine_state() == {"min_mhz": 1000, "max_mhz": 1000, "load": LOAD}


def test_a_processor_that_tells_no_clock_is_passed_over(machine: Machine) -> None:
    machine.write("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd08\n")
    assert machine_state() == {"load": LOAD}


@pytest.mark.parametrize("asleep", ["", "N/A", "\0"])
def test_a_sensor_without_a_number_is_left_out_and_the_others_are_not(machine: Machine, asleep: str) -> None:
    machine.zones(asleep, 45_000)
    machine.clocks(asleep, 1_200_000)
    found = machine_state()
    assert (found["max_celsius"], found["min_mhz"], found["max_mhz"]) == (45, 1200, 1200)


def test_a_sensor_that_cannot_be_read_is_left_out(machine: Machine) -> None:
    """A directory stands for what the system refuses to read, which it does not refuse to root."""
    machine.zones(45_000)
    (machine.root / "sys/class/thermal/thermal_zone1/temp").mkdir(parents=True)
    (machine.root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").mkdir(parents=True)
    (machine.root / "proc/stat").mkdir(parents=True)
    (machine.root / "proc/cpuinfo").mkdir(parents=True)
    assert machine_state() == {"max_celsius": 45, "load": LOAD}


@pytest.mark.parametrize("columns", [0, 4, 7])
def test_a_kernel_too_old_to_count_stolen_time_tells_none(machine: Machine, columns: int) -> None:
    machine.stat(*range(columns))
    assert machine_state() == {"load": LOAD}


def test_this_machine_tells_numbers() -> None:
    found = machine_state()
    numbers = {name: value for name, value in found.items() if name not in {"governor", "battery"}}
    assert all(isinstance(value, float) and math.isfinite(value) for value in numbers.values())
    assert found.get("load") == pytest.approx(os.getloadavg()[0], abs=1)


def test_a_local_profiler_tells_the_state_of_this_machine() -> None:
    with open_profiler(Device(name="toy", runtime="fake")) as profiler:
        assert profiler.state().keys() == machine_state().keys()
