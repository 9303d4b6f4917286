"""Values as users type them: latencies with a unit, lists of sizes."""

import math
import re

from profilers.errors import InvalidInputError

_MS_PER_UNIT = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_LATENCY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(us|ms|s)")


def latency_ms(text: str) -> float:
    """A latency like 80ms, 0.08s or 800us in ms; raises InvalidInputError for anything else."""
    match = _LATENCY.fullmatch(text.strip())
    if not match or not 0 < (found := float(match[1]) * _MS_PER_UNIT[match[2]]) < math.inf:
        raise InvalidInputError(f"{text!r} is no latency: give a number above 0 with a unit, like 80ms, 0.08s or 800us")
    return found


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


def in_ms(ms: float) -> str:
    """A latency for people, in ms."""
    return f"{ms:.4g} ms" if ms < 1000 else f"{ms / 1000:.4g} s"
