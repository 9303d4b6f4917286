"""Values as users type them: latencies with a unit, budgets on several devices, counts, bytes, lists of sizes."""

import math
import re

from profilers.errors import InvalidInputError

_MS_PER_UNIT = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
LATENCIES_MS = (1e-6, 1e9)  # a nanosecond to eleven days: what a device can take, and what arithmetic can compare
LONGEST_S = 1e9  # thirty years
COUNTS = (1.0, 1e18)
DIGITS = 4  # of an image size or a CPU's number
SHOWN = 40  # characters of a value that means nothing
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_TIME = re.compile(rf"{_NUMBER}(us|ms|s|m|h)")
_COUNT = re.compile(rf"{_NUMBER}([kKMG]?)")
_SIZE = re.compile(rf"{_NUMBER}([kKMG]B|[KMG]iB|B)")


def latency_ms(text: str) -> float:
    """A latency like 80ms, 0.08s or 800us in ms; raises InvalidInputError for anything else."""
    if not _is_latency(found := _time_ms(text)):
        raise InvalidInputError(
            f"{_shown(text)} is no latency: give a number above 0 with a unit, like 80ms, 0.08s or 800us{_meant(text)}"
        )
    return found


def pause_s(text: str) -> float:
    """A pause like 30s, or 0s for none, in seconds; raises InvalidInputError for anything else."""
    if not (found := _time_ms(text) / 1000) <= LONGEST_S:
        raise InvalidInputError(f"{_shown(text)} is no pause: give a number with a unit, like 30s, or 0s for none")
    return found


def duration_s(text: str) -> float:
    """A duration like 90s, 10m or 2h in seconds, above 0; raises InvalidInputError for anything else."""
    if not 0 < (found := _time_ms(text) / 1000) <= LONGEST_S:
        raise InvalidInputError(
            f"{_shown(text)} is no duration: give a number above 0 with a unit, like 90s, 10m or 2h"
        )
    return found


def _time_ms(text: str) -> float:
    """A time with its unit in ms; not a number for what is none."""
    match = _TIME.fullmatch(text.strip())
    return float(match[1]) * _MS_PER_UNIT[match[2]] if match else math.nan


def _is_latency(ms: float) -> bool:
    return LATENCIES_MS[0] <= ms <= LATENCIES_MS[1]


def _shown(text: str) -> str:
    """A value in quotation marks, cut where it is long."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


def _meant(text: str) -> str:
    """What was meant by a latency that is none, if that is plain."""
    device, _, latency = text.replace(" ", "").rpartition(":")
    for spelled in (latency, latency.lower(), f"{latency}ms"):
        if _is_latency(_time_ms(spelled)):
            return f"; did you mean {f'{device}={spelled}' if device else spelled}?"
    return ""


def budgets(text: str, device: str) -> list[dict[str, float]]:
    """Latencies in ms to be kept, by device: `2ms,3ms` is two budgets, `host=3ms,board=40ms` is one on two devices.

    A budget that names no device is for `device`. Raises InvalidInputError for what is neither form.
    """
    parts = [part.rpartition("=") for part in text.split(",")]
    if not any(equals for _, equals, _ in parts):
        return [{device: latency_ms(latency)} for _, _, latency in parts]
    joint = {name: latency_ms(latency) for name, _, latency in parts}
    if "" in joint or len(joint) < len(parts):
        raise InvalidInputError(
            f"{_shown(text)} is no budget: give several for one device, like 2ms,3ms, or one for each of several, like "
            "host=3ms,board=40ms"
        )
    return [joint]


def count(text: str) -> float:
    """A number of MACs or parameters like 300M, 1.2G or 50000; raises InvalidInputError for anything else."""
    return _scaled(text, _COUNT, {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}, "count", "300M, 1.2G or 50000")


def size_bytes(text: str) -> float:
    """A size like 4MB, 512KiB or 5000B in bytes; raises InvalidInputError for anything else."""
    powers = {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return _scaled(text, _SIZE, powers, "size", "4MB, 512KiB or 5000B")


def _scaled(text: str, pattern: re.Pattern[str], units: dict[str, float], what: str, examples: str) -> float:
    match = pattern.fullmatch(text.strip())
    found = float(match[1]) * units[match[2]] if match else math.nan
    if not COUNTS[0] <= found <= COUNTS[1]:
        raise InvalidInputError(f"{_shown(text)} is no {what}: give a number above 0, like {examples}")
    return found


def resolutions(text: str) -> tuple[int, ...]:
    """Image sizes separated by commas, none for the space's own; raises InvalidInputError."""
    if not text:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= DIGITS for part in parts):
        raise InvalidInputError(f"{_shown(text)} is no list of resolutions: give pixels, like 160,192,224")
    return tuple(map(int, parts))


def cpu_numbers(text: str) -> tuple[int, ...]:
    """Numbers of CPUs separated by commas, none for any; raises InvalidInputError."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isascii() and part.isdigit() and len(part) <= DIGITS for part in parts):
        raise InvalidInputError(f"{_shown(text)} is no list of CPUs: give their numbers, like 4,5,6,7")
    return tuple(map(int, parts))


def in_ms(ms: float) -> str:
    """A latency for people, in ms."""
    return f"{ms:.4g} ms" if ms < 1000 else f"{ms / 1000:.4g} s"
