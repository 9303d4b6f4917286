"""Published latencies: what tables made by others say of a block, and what several of them say together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lut.blocks import Block
from profilers.device import Fingerprint

PUBLISHED = "published"  # stands for the runtime of a table that somebody else made


@dataclass(frozen=True)
class PublishedEntry:
    """The mean of `runs` runs of a block, and their standard deviation where it was published, too."""

    block: Block
    ms: float
    runs: int
    std_ms: float | None = None


def pooled(entries: Sequence[PublishedEntry]) -> PublishedEntry:
    """One entry for all runs of several entries of the same block: blocks behind the pool are in every file.

    The deviation is not known where one of them lacks it.
    """
    if len(entries) == 1:
        return entries[0]
    runs = sum(entry.runs for entry in entries)
    ms = math.fsum(entry.runs * entry.ms for entry in entries) / runs
    known = [(e.runs, e.ms, e.std_ms) for e in entries if e.std_ms is not None]
    variance = math.fsum(n * (std_ms**2 + (mean_ms - ms) ** 2) for n, mean_ms, std_ms in known) / runs
    return PublishedEntry(entries[0].block, ms, runs, math.sqrt(variance) if len(known) == len(entries) else None)


def published_fingerprint(device: str) -> Fingerprint:
    """The fingerprint of a device that is known from a published table only."""
    return Fingerprint(
        machine=device, cores=0, runtime=PUBLISHED, runtime_version="", precision="fp32", threads=0, batch=1
    )
