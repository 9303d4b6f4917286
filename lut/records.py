"""Records of a table's log, as they are read: what is impossible is refused, what later versions add is passed over."""

import math
from dataclasses import fields
from typing import Any

from lut.blocks import Block
from lut.published import PublishedEntry
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import Visit

Record = dict[str, Any]


def visits_in(record: Record) -> dict[str, Visit]:
    """The visits of a round by name, none of any other record; raises ValueError for times that nothing takes."""
    found = {
        name: Visit(ms, sentinel_ms, preempted[:1] == [1])
        for name, (ms, sentinel_ms, *preempted) in record.get("round", {}).items()
    }
    for name, visit in found.items():
        if not (0 < visit.ms < math.inf and 0 < visit.sentinel_ms < math.inf):
            raise ValueError(f"{name} took {visit.ms} ms beside {visit.sentinel_ms} ms")
    return found


def net_in(record: Record) -> tuple[str, tuple[str, ...]]:
    """The name of a whole net and the keys of its blocks; raises ValueError for what are none."""
    name, keys = record["name"], record["blocks"]
    if (
        not isinstance(name, str)
        or not isinstance(keys, list)
        or not keys
        or not all(isinstance(key, str) for key in keys)
    ):
        raise ValueError("a net whose name or blocks are no texts, or without blocks")
    return name, tuple(keys)


def published_record(entry: PublishedEntry, source: str) -> Record:
    """What is kept of an entry of the published file called `source`."""
    spread = {} if entry.std_ms is None else {"std_ms": rounded(entry.std_ms)}
    return {"name": entry.block.key, "ms": rounded(entry.ms), "runs": entry.runs, **spread, "source": source}


def published_in(record: Record) -> tuple[str, PublishedEntry] | None:
    """The source and the entry of such a record; None for a kind of block that is not known here. Raises ValueError."""
    name, ms, runs = str(record["name"]), float(record["ms"]), int(record["runs"])
    std_ms = float(record["std_ms"]) if "std_ms" in record else None
    if not (0 < ms < math.inf and runs > 0 and 0 <= (std_ms or 0.0) < math.inf):
        raise ValueError(f"{name} took {ms} ms in {runs} runs")
    if name.split(" ", maxsplit=1)[0] not in Block.kinds:
        return None
    try:
        return str(record["source"]), PublishedEntry(Block.parse(name), ms, runs, std_ms)
    except InvalidInputError as error:
        raise ValueError(str(error)) from error


def fingerprint_in(record: Record) -> Fingerprint:
    """The fingerprint of a header; fields that are not known here are passed over."""
    return Fingerprint(**{field.name: record[field.name] for field in fields(Fingerprint) if field.name in record})


def rounded(sample_ms: float) -> float:
    """To six digits: finer than any clock here; keeps the file a third of the size."""
    return float(f"{sample_ms:.6g}")
