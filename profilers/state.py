"""The state of this machine beside a measurement: clock, temperature, load, and time that a hypervisor took away."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CPUS, _ZONES = Path("/sys/devices/system/cpu"), Path("/sys/class/thermal")
_CPUINFO, _STAT = Path("/proc/cpuinfo"), Path("/proc/stat")
_STOLEN = 8  # the column of /proc/stat's first line


def machine_state() -> dict[str, float]:
    """What the system tells, by name: `min_mhz`, `max_mhz`, `max_celsius`, `load` (1 minute), `stolen_s` (since boot).

    What it does not tell, as virtual machines and other systems than Linux often do not, is left out.
    """
    found: dict[str, float] = {}
    if mhz := list(_clocks_mhz()):
        found |= {"min_mhz": min(mhz), "max_mhz": max(mhz)}
    if celsius := [milli / 1000 for milli in _numbers(_ZONES, "thermal_zone*/temp")]:
        found["max_celsius"] = max(celsius)
    with suppress(AttributeError, OSError):  # not on Windows, nor where /proc is hidden
        found["load"] = os.getloadavg()[0]
    columns = next(iter(_lines(_STAT)), "").split()
    if len(columns) > _STOLEN:
        found["stolen_s"] = int(columns[_STOLEN]) / os.sysconf("SC_CLK_TCK")
    return {name: round(value, 2) for name, value in found.items()}


def _clocks_mhz() -> Iterator[float]:
    """Of each CPU; by the kernel's governor where there is one, else as the processor was asked at the moment."""
    if governed := [khz / 1000 for khz in _numbers(_CPUS, "cpu[0-9]*/cpufreq/scaling_cur_freq")]:
        yield from governed
        return
    for line in _lines(_CPUINFO):
        if line.startswith("cpu MHz"):
            yield float(line.split(":")[1])


def _numbers(folder: Path, pattern: str) -> Iterator[float]:
    for path in sorted(folder.glob(pattern)):
        try:
            yield float(path.read_text())
        except (OSError, ValueError):  # a sensor that is there, but asleep
            continue


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
