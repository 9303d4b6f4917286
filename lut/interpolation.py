"""Interpolation between image sizes: what a block costs at a size that was not measured, from the sizes around it.

A block's work grows with the area of its input, so its time is taken to be linear in the area between the nearest
smaller and the nearest larger size that were measured. It is never extended beyond them.
"""

from collections import defaultdict
from dataclasses import replace

from lut.blocks import Block
from lut.table import LatencyTable, MissingBlockError
from profilers.errors import InvalidInputError


class SizeInterpolation:
    """Times of a table's blocks at sizes between the measured ones; `used` collects the blocks that were guessed."""

    def __init__(self, table: LatencyTable) -> None:
        self._table = table
        self._sizes: dict[Block, list[int]] = defaultdict(list)
        for block in table.blocks():
            self._sizes[replace(block, hw=1)].append(block.hw)
        self.used: set[Block] = set()

    def block_ms(self, block: Block) -> float:
        """Time of a block in ms, measured or interpolated; raises MissingBlockError if sizes on both sides lack."""
        if not self._table.missing([block]):
            return self._table.block_ms(block)
        sizes = self._sizes.get(replace(block, hw=1), [])
        smaller, larger = [hw for hw in sizes if hw < block.hw], [hw for hw in sizes if hw > block.hw]
        if not smaller or not larger:
            raise MissingBlockError(self._table.path, [block])
        low, high = max(smaller), min(larger)
        share = (block.hw**2 - low**2) / (high**2 - low**2)
        self.used.add(block)
        low_ms, high_ms = (self._table.block_ms(replace(block, hw=hw)) for hw in (low, high))
        return low_ms + share * (high_ms - low_ms)

    def doubt_ms(self, block: Block, confidence_pct: float) -> float:
        """Not known: raises InvalidInputError."""
        raise InvalidInputError(
            f"how far off {block.key} is, interpolated between sizes, is not known at {confidence_pct:g} %: "
            "leave out the confidence, or measure that size"
        )
