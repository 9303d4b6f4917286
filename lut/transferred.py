"""What a table has from other devices: the times of blocks within a network, told by few whole nets measured here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lut.blocks import Block
from lut.calibration import Calibration
from profilers.errors import InvalidInputError


@dataclass(frozen=True)
class Transferred:
    """Times of blocks as parts of a network, in ms, learned from `sources`; a `lut.latency_model.Guess`.

    `errors_pct` are those of the measured nets, each predicted without itself: (predicted - measured) / measured.
    """

    sources: tuple[str, ...]
    ms: Mapping[str, float]  # by the block's key
    errors_pct: tuple[float, ...]
    used: set[Block] = field(default_factory=set, compare=False)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """What `record` wrote; raises KeyError, TypeError or ValueError for anything else."""
        ms = {str(key): float(value) for key, value in record["ms"].items()}
        if not all(0 < value < float("inf") for value in ms.values()):
            raise ValueError("a transferred time is not above 0 ms")
        return cls(tuple(map(str, record["sources"])), ms, tuple(map(float, record["errors_pct"])))

    def record(self) -> dict[str, Any]:
        """The facts as they are kept in a table."""
        return {"sources": list(self.sources), "errors_pct": list(self.errors_pct), "ms": dict(self.ms)}

    def covers(self, block: Block) -> bool:
        """Whether there is a time of the block."""
        return block.key in self.ms

    def block_ms(self, block: Block) -> float:
        """Time of the block within a network, in ms."""
        self.used.add(block)
        return self.ms[block.key]

    def doubt_ms(self, block: Block, confidence_pct: float) -> float:  # noqa: ARG002 - of any block, at any confidence
        """None: the errors of whole nets, which the calibration knows, are all there is."""
        return 0.0

    @property
    def calibration(self) -> Calibration:
        """A plain sum, with the errors that it has; raises InvalidInputError without any."""
        if not self.errors_pct:
            raise InvalidInputError("nothing was measured of a transferred table: profile it with more --samples")
        return Calibration(constant_ms=0.0, per_ms=1.0, errors_pct=self.errors_pct)
