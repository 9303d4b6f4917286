"""Values as users type them: latencies with a unit, lists of sizes."""

import math
import re

from profilers.errors import InvalidInputError

_MS_PER_UNIT = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_LATENCY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(us|ms|s)")


def latency_ms(text: str) -> float:
    """A latency like 80ms, 0.08s or 800us in ms; raises InvalidInputError for anything else."""
    if not 0 < (found := _time_ms(text)) < math.inf:
        raise InvalidInputError(f"{text!r} is no latency: give a number above 0 with a unit, like 80ms, 0.08s or 800us")
    return found


def pause_s(text: str) -> float:
    """A pause like 30s, or 0s for none, in seconds; raises InvalidInputError for anything else."""
    if not (found := _time_ms(text)) < math.inf:
        raise InvalidInputError(f"{text!r} is no pause: give a number with a unit, like 30s, or 0s for none")
    return found / 1000


def _time_ms(text: str) -> float:
    """A time with its unit in ms; not a number for what is none."""
    match = _LATENCY.fullmatch(text.strip())
    return float(match[1]) * _MS_PER_UNIT[match[2]] if match else math.nan


def latencies_ms(text: str) -> list[float]:
    """Latencies separated by commas; raises InvalidInputError."""
    return [latency_ms(part) for part in text.split(",")]


def resolutions(text: str) -> tuple[int, ...]:
    """Image sizes separated by commas, none for the space's own; raises InvalidInputError."""
    if not text:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InvalidInputError(f"{text!r} is no list of resolutions: give pixels, like 160,192,224")
    return tuple(map(int, parts))


def cpu_numbers(text: str) -> tuple[int, ...]:
    """Numbers of CPUs separated by commas, none for any; raises InvalidInputError."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InvalidInputError(f"{text!r} is no list of CPUs: give their numbers, like 4,5,6,7")
    return tuple(map(int, parts))


def in_ms(ms: float) -> str:
    """A latency for people, in ms."""
    return f"{ms:.4g} ms" if ms < 1000 else f"{ms / 1000:.4g} s"
