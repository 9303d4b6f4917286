"""What `hwnas table check` finds, as it is told."""

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from lut.audit import Contradiction, ages, inverted, unsteady
from lut.blocks import Block
from lut.table import LatencyTable
from profilers.device import Fingerprint
from profilers.errors import UntrustedError
from profilers.measurement import PLANS


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What speaks against a table's entries; blocks by their keys."""

    missing: list[str]
    transferred: list[str]  # told by other devices' tables, not measured
    unconverged: list[str]
    stale: list[str]
    elsewhere: list[str]  # what tells the device of now from the one that was measured
    unsteady: list[Contradiction]
    inverted: list[Contradiction]
    age_days: float | None  # of the oldest entry

    @classmethod
    def of(
        cls, table: LatencyTable, blocks: Sequence[Block], max_age_days: float | None, here: Fingerprint | None
    ) -> Self:
        """What is found now, of these blocks."""
        missing = table.missing(blocks)
        told = [block for block in missing if any(found.covers(block) for found in table.transfers.values())]
        age = {
            b: old.total_seconds() / 86400
            for b, old in ages(table, blocks, datetime.datetime.now(datetime.UTC)).items()
        }
        return cls(
            missing=[block.key for block in missing if block not in told],
            transferred=[block.key for block in told],
            unconverged=table.pending((block.key for block in blocks if block.key in table.visits), PLANS["default"]),
            stale=[block.key for block, days in age.items() if max_age_days is not None and days > max_age_days],
            elsewhere=table.fingerprint.differences(here) if here else [],
            unsteady=unsteady(table, blocks),
            inverted=inverted(table, blocks),
            age_days=max(age.values(), default=None),
        )

    @property
    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return asdict(self)

    @property
    def lines(self) -> list[str]:
        """Everything, for people."""
        found = []
        for what, names in (
            ("missing", self.missing), ("transferred from other devices", self.transferred),
            ("unconverged", self.unconverged), ("stale", self.stale),
            ("measured elsewhere", self.elsewhere),
            ("slower in one batch than in another", [f"{c.names[0]}: {c.why}" for c in self.unsteady]),
            ("dearer than a larger block", [f"{' > '.join(c.names)}: {c.why}" for c in self.inverted]),
        ):  # fmt: skip
            found += [f"{what}: {len(names)}", *(f"  {name}" for name in names)]
        return [*found, f"oldest entry: {'not known' if self.age_days is None else f'{self.age_days:.1f} days'}"]

    def refuse(self) -> None:
        """Raise UntrustedError where entries are not what the device does now, or were not the same twice."""
        found = [
            *(["it was measured elsewhere"] if self.elsewhere else []),
            *([f"{len(self.stale)} entries are stale"] if self.stale else []),
            *([f"{len(self.unsteady)} entries were not the same twice"] if self.unsteady else []),
        ]
        if found:
            raise UntrustedError(f"the table is not to be trusted: {', '.join(found)}; move it away and profile again")
