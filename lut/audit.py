"""What speaks against a table's entries: those that contradict themselves, or each other, and how old they are.

Only what intervals tell apart counts: two of them that do not meet, by more than `GAP_PCT` of the smaller latency.
Published figures have no intervals, so nothing is said of these.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lut.blocks import Block, MBConv
from lut.table import LatencyTable
from profilers.measurement import LEAST_CALM, Measurement, Visit, undisturbed

GAP_PCT = 5.0  # batches of one block differ by up to this on a shared machine (docs/measurement.md)


@dataclass(frozen=True)
class Contradiction:
    """Figures that are hard to believe together, of one entry or of two, and why."""

    names: tuple[str, ...]
    why: str


def unsteady(table: LatencyTable, blocks: Iterable[Block]) -> list[Contradiction]:
    """Blocks that one batch of rounds says are slower than another says: the device was not the same in both."""
    found = []
    for block in blocks:
        batches: dict[int, list[Visit]] = defaultdict(list)
        for batch, visit in zip(table.batches.get(block.key, ()), table.visits.get(block.key, ()), strict=True):
            if visit.calm(table.calm_ms):
                batches[batch].append(visit)
        said = [undisturbed(visits, table.calm_ms) for visits in batches.values() if len(visits) >= LEAST_CALM]
        if len(said) > 1:
            fastest = min(said, key=lambda batch: batch.interval_ms[1])
            slowest = max(said, key=lambda batch: batch.interval_ms[0])
            if _apart(fastest, slowest):
                found.append(Contradiction((block.key,), f"one batch says {fastest}, another {slowest}"))
    return found


def inverted(table: LatencyTable, blocks: Iterable[Block]) -> list[Contradiction]:
    """Inverted residuals that are dearer than one of larger kernel or expansion, which can do the same and more.

    A disturbance can do that, and so can a runtime: ONNX Runtime 1.31's int8 depthwise convolutions of 7 x 7 take twice
    as long for 72 channels as for 96, at every measuring.
    """
    families: dict[tuple[str, Block], list[tuple[MBConv, Measurement]]] = defaultdict(list)
    for block in blocks:
        if isinstance(block, MBConv) and block.key in table.visits and (found := table.measurement(block.key)):
            families["kernel", replace(block, kernel=1)].append((block, found))
            families["mid_chs", replace(block, mid_chs=1)].append((block, found))
    doubts = []
    for (size, _), family in families.items():
        for small, its in family:
            larger = [(b, m) for b, m in family if getattr(b, size) > getattr(small, size) and _apart(m, its)]
            if larger:
                block, theirs = min(larger, key=lambda pair: pair[1].latency_ms)
                why = f"the smaller {size} takes {its}, the larger {theirs}"
                doubts.append(Contradiction((small.key, block.key), why))
    return doubts


def _apart(fast: Measurement, slow: Measurement) -> bool:
    """Whether `slow` is slower beyond doubt: by more than a gap between the intervals."""
    return slow.interval_ms[0] - fast.interval_ms[1] > GAP_PCT / 100 * fast.latency_ms


def ages(table: LatencyTable, blocks: Iterable[Block], now: datetime.datetime) -> dict[Block, datetime.timedelta]:
    """How long ago each block was last measured; nothing of those that do not say when."""
    found = {}
    for block in blocks:
        *_, batch = table.batches.get(block.key, [0])
        state = table.states[batch - 1] if batch else {}
        try:
            found[block] = now - datetime.datetime.fromisoformat(str(state.get("time")))
        except (TypeError, ValueError):  # no state before the first batch, or one that others wrote
            continue
    return found
