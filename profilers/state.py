"""The state of a device beside a measurement: clock, temperature, battery, load, time that a hypervisor took away.

Linux tells all of it in files. They are read here for this machine, and through a shell for a device; what they mean
is the same.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_ROOT = Path("/")
_CPUFREQ = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"
_STOLEN = 8  # the column of /proc/stat's first line

State = Mapping[str, float | str]

STATE_FILES = (
    f"{_CPUFREQ}/scaling_cur_freq",
    f"{_CPUFREQ}/scaling_max_freq",
    f"{_CPUFREQ}/scaling_governor",
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/power_supply/*/capacity",
    "sys/class/power_supply/*/status",
    "proc/loadavg",
    "proc/cpuinfo",
    "proc/stat",
)
"""Patterns of the files that tell it, below the root."""

BATTERY_SERVICE = "dumpsys/battery"
"""Stands for what `dumpsys battery` says on Android, whose shell may not read the battery's files."""
_ANDROID_STATUS = {"1": "Unknown", "2": "Charging", "3": "Discharging", "4": "Not charging", "5": "Full"}


def machine_state() -> State:
    """The state of this machine; see `state_of`."""
    files = {}
    for pattern in STATE_FILES:
        for path in sorted(_ROOT.glob(pattern)):
            try:
                files[str(path.relative_to(_ROOT))] = path.read_text()
            except (OSError, ValueError):  # a sensor that is there, but asleep
                continue
    return state_of(files)


def state_of(files: Mapping[str, str]) -> State:
    """What the contents of such files tell, by name.

    `min_mhz`, `max_mhz` of the CPUs now; `allowed_mhz`, what the system lets them reach on average, which heat lowers;
    `governor`; `max_celsius`; `battery_pct`, `battery`, `battery_celsius`; `load` (1 minute); `stolen_s` (since boot).
    What is not told, as virtual machines often do not, is left out.
    """
    found: dict[str, float | str] = {}
    if mhz := [khz / 1000 for khz in _numbers(files, "/scaling_cur_freq")] or _processor_mhz(files):
        found |= {"min_mhz": min(mhz), "max_mhz": max(mhz)}
    if allowed := [khz / 1000 for khz in _numbers(files, "/scaling_max_freq")]:
        found["allowed_mhz"] = sum(allowed) / len(allowed)
    if governors := sorted(set(_texts(files, "/scaling_governor"))):
        found["governor"] = " ".join(governors)
    if celsius := [milli / 1000 for milli in _numbers(files, "/temp")]:
        found["max_celsius"] = max(celsius)
    if capacities := _numbers(files, "/capacity"):
        found["battery_pct"] = min(capacities)
    if statuses := sorted(set(_texts(files, "/status"))):
        found["battery"] = " ".join(statuses)
    found |= _battery_service(files.get(BATTERY_SERVICE, ""))
    if loads := _floats(files.get("proc/loadavg", "").split()[:1]):
        found["load"] = loads[0]
    if columns := files.get("proc/stat", "").splitlines()[:1]:
        ticks = _floats(columns[0].split()[_STOLEN : _STOLEN + 1])
        found |= {"stolen_s": ticks[0] / os.sysconf("SC_CLK_TCK")} if ticks else {}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in found.items()}


def _battery_service(said: str) -> dict[str, float | str]:
    """What Android's battery service says, one `key: value` a line; temperatures are in tenths of a degree."""
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in said.splitlines())}
    found: dict[str, float | str] = {}
    if level := _floats([told.get("level", "")]):
        found["battery_pct"] = level[0]
    if tenths := _floats([told.get("temperature", "")]):
        found["battery_celsius"] = tenths[0] / 10
    if status := _ANDROID_STATUS.get(told.get("status", "")):
        found["battery"] = status
    return found


def _processor_mhz(files: Mapping[str, str]) -> list[float]:
    """Where there is no governor: as the processor was asked at the moment."""
    lines = files.get("proc/cpuinfo", "").splitlines()
    return _floats(line.split(":")[1] for line in lines if line.startswith("cpu MHz"))


def _numbers(files: Mapping[str, str], name: str) -> list[float]:
    return _floats(_texts(files, name))


def _texts(files: Mapping[str, str], name: str) -> list[str]:
    return [text.strip() for path, text in files.items() if path.endswith(name)]


def _floats(texts: Iterable[str]) -> list[float]:
    found = []
    for text in texts:
        try:
            found.append(float(text))
        except ValueError:  # a sensor that is asleep
            continue
    return found
