"""A LatencyModel: what a table says of all architectures of a space at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lut.blocks import Block
from lut.calibration import Calibration
from lut.compiled import Compiled, Floats, Rows


class Guess(Protocol):
    """Times of blocks, also of some that were not measured; `used` collects those."""

    @property
    def used(self) -> set[Block]:
        """The blocks that were asked for and not measured."""
        ...

    def block_ms(self, block: Block) -> float:
        """Time of a block in ms; raises MissingBlockError where there is nothing to guess from."""
        ...

    def doubt_ms(self, block: Block, confidence_pct: float) -> float:
        """How much more a guessed block may take, at a confidence; raises InvalidInputError where nobody knows."""
        ...


@dataclass(frozen=True)
class LatencyModel:
    """Predicted latency of a space's architectures on one device: what a table's blocks add to a net, summed."""

    cost: Compiled  # in ms
    calibration: Calibration
    guessed: frozenset[Block] = frozenset()  # blocks whose time was not measured
    doubt: Callable[[float], Compiled] | None = None  # how much more they may take, in ms, at a confidence
    unavailable: frozenset[Block] = frozenset()  # blocks that the table does not price: infinite in `cost`

    def latency_ms(self, population: Rows) -> Floats:
        """Latencies of n architectures, rows (n, dims) of choices, as (n,)."""
        return self.cost(population)

    def least(self) -> tuple[float, Rows]:
        """The least attainable latency in ms and a row that attains it; exact."""
        return self.cost.least()

    def upper(self, confidence_pct: float) -> Compiled:
        """The upper ends, in ms, of intervals that hold `confidence_pct` percent of latencies.

        Doubts of guessed blocks are added up, as if all were wrong in the same direction. Raises InvalidInputError
        where it is not known how far predictions are off.
        """
        upper = self.cost.scaled(1 + self.calibration.interval_pct(confidence_pct) / 100)
        return upper.plus(self.doubt(confidence_pct)) if self.doubt else upper
