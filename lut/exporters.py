"""Exporters: measured tables in the formats of other tools."""

import statistics
from collections.abc import Iterable

from lut.blocks import Block
from lut.importers.ofa import key_of
from lut.published import PublishedEntry
from lut.table import LatencyTable, MissingBlockError
from profilers.errors import InvalidInputError


def ofa_yaml(table: LatencyTable, blocks: Iterable[Block]) -> str:
    """A lookup table of once-for-all's with an entry for each of `blocks`, which are of one resolution.

    `mean` is the latency that nets are priced with, in ms, `count` how many visits it rests on, `std` how they spread.
    Raises MissingBlockError for blocks that were not measured, InvalidInputError for those the format has no word for.
    """
    blocks = list(blocks)
    if missing := table.missing(blocks):
        raise MissingBlockError(table.path, missing)
    keys = {block: key_of(block) for block in blocks}
    if strange := [block.key for block, key in keys.items() if key is None]:
        raise InvalidInputError(f"once-for-all's tables have no word for {len(strange)} blocks, e.g. {strange[0]}")
    lines = []
    for entry, key in sorted(
        ((_entry(table, block), key) for block, key in keys.items()), key=lambda pair: str(pair[1])
    ):
        lines += [f"{key}:", f"  count: {entry.runs}", f"  mean: {entry.ms!r}"]
        lines += [] if entry.std_ms is None else [f"  std: {entry.std_ms!r}"]
    return "\n".join([*lines, ""])


def _entry(table: LatencyTable, block: Block) -> PublishedEntry:
    found, published = table.measurement(block.key), table.published(block.key)
    assert found is not None
    if published is not None:
        return published
    spread_ms = statistics.stdev(found.samples_ms) if len(found.samples_ms) > 1 else None
    return PublishedEntry(block, found.latency_ms, len(found.samples_ms), spread_ms)
