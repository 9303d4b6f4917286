"""A LatencyTable: what each block costs on one device, from measured rounds that are all kept.

The file is a log (`lut.storage`) of these kinds of records behind a header that names the device:

    {"round": {"<block key or net name>": [ms, sentinel_ms], …}}         and a third figure, 1, if preempted
    {"net": {"name": "net digits:…", "blocks": ["<block key>", …]}}
    {"state": {"time": "<UTC>", "max_mhz": 2500.0, "max_celsius": 45.0, …}}  before and after each batch
    {"calibration": {"nets": "net digits:", "mean_error_pct": 1.2, …}}     as it was when profiling ended
    {"published": {"name": "<block key>", "ms": 4.8, "runs": 54, "source": "<file>"}}

Medians, intervals and the calibration are derived from rounds and nets whenever they are asked for; they speak of
the undisturbed device, at the speed of the fastest of all the sentinel's readings in the table.
"""

import datetime
import hashlib
import math
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from lut.blocks import Block
from lut.calibration import Calibration
from lut.importers import PublishedEntry
from lut.storage import RecordLog
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import Measurement, Plan, Visit, calm_sentinel_ms, undisturbed
from profilers.rounds import Round
from profilers.state import State

FORMAT, VERSION = "hwnas-table", 1
PUBLISHED = "published"  # stands for the runtime of a table that somebody else made


class MissingBlockError(InvalidInputError):
    """Blocks were asked for that the table has no time of; `blocks` lists them."""

    def __init__(self, path: Path, blocks: Collection[Block]) -> None:
        shown = ", ".join(block.key for block in list(blocks)[:2])
        super().__init__(f"{path} lacks {len(blocks)} of the blocks needed, e.g. {shown}")
        self.blocks = tuple(blocks)


class LatencyTable:
    """Times of blocks and of whole nets on one device."""

    def __init__(self, log: RecordLog) -> None:
        self._log = log
        self.path = log.path
        self.visits: dict[str, list[Visit]] = {}
        self._measurements: dict[str, Measurement] = {}
        self.nets: dict[str, tuple[str, ...]] = {}
        self._published: dict[str, float] = {}
        self.states: list[dict[str, Any]] = []
        self.calibrations: dict[str, dict[str, float]] = {}
        with self._damage_reported():
            self.device_name = str(log.header["device"])
            self.fingerprint = Fingerprint(**log.header["fingerprint"])
            self._take_all(log.records)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The table at `path`; raises InvalidInputError if there is none that can be read."""
        return cls(RecordLog.read(path, FORMAT, VERSION))

    @classmethod
    def open(cls, path: Path, device_name: str, fingerprint: Fingerprint) -> Self:
        """The table at `path`, begun if there is none; refuses one that was measured on another device."""
        header = {"format": FORMAT, "version": VERSION, "device": device_name, "fingerprint": asdict(fingerprint)}
        table = cls(RecordLog.open(path, header))
        table.check_origin(fingerprint)
        return table

    def check_origin(self, fingerprint: Fingerprint) -> None:
        """Raise InvalidInputError where the table was measured on another device than the one with this fingerprint."""
        if differences := self.fingerprint.differences(fingerprint):
            raise InvalidInputError(
                f"{self.path} was measured elsewhere ({'; '.join(differences)}): times are never mixed; "
                "give the device another name, or move the file away to measure anew"
            )

    @contextmanager
    def writing(self) -> Iterator[Self]:
        """Hold the right to add to the table's file; takes in first what other processes added."""
        known = len(self._log.records)
        with self._log.writing():
            with self._damage_reported():
                self._take_all(self._log.records[known:])
            yield self

    def add_round(self, found: Round) -> None:
        """Keep one round; it is on the disk when this returns. One without visits leaves nothing to keep."""
        if not found.visits:
            return
        visits = {
            name: [_rounded(v.ms), _rounded(v.sentinel_ms), *([1] if v.preempted else [])]
            for name, v in found.visits.items()
        }
        self._append({"round": visits})

    def add_net(self, name: str, blocks: Iterable[Block]) -> None:
        """Say which blocks the whole net called `name` consists of; its times come in rounds."""
        if name not in self.nets:
            self._append({"net": {"name": name, "blocks": [block.key for block in blocks]}})

    def add_state(self, state: State) -> None:
        """Keep the device's state of this moment."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._append({"state": {"time": now, **state}})

    def add_calibration(self, prefix: str) -> Calibration:
        """Keep how good the calibration on nets whose names begin with `prefix` is now; returns it."""
        found = self.calibration(prefix)
        self._append({"calibration": {
            "nets": prefix, "count": len(found.errors_pct), "mean_error_pct": found.mean_error_pct,
            "max_error_pct": found.max_error_pct, "constant_ms": found.constant_ms, "per_ms": found.per_ms,
            "per_block_ms": found.per_block_ms, "per_mparam_ms": found.per_mparam_ms,
        }})  # fmt: skip
        return found

    def add_published(self, entry: PublishedEntry, source: str) -> None:
        """Keep what a published table says of a block; what is measured here counts instead of it."""
        name, ms = entry.block.key, _rounded(entry.ms)
        self._append({"published": {"name": name, "ms": ms, "runs": entry.runs, "source": source}})

    def measurement(self, name: str) -> Measurement | None:
        """What was measured of a block's key or a net's name, if anything."""
        if name not in self._measurements and name in self.visits:
            self._measurements[name] = undisturbed(self.visits[name], self.calm_ms)
        elif name not in self._measurements and name in self._published:
            self._measurements[name] = Measurement((self._published[name],))
        return self._measurements.get(name)

    @cached_property
    def calm_ms(self) -> float:
        """What the sentinel takes on the undisturbed device: the speed that the table speaks of; infinite if empty."""
        if not self.visits:
            return math.inf
        return calm_sentinel_ms(visit for visits in self.visits.values() for visit in visits)

    def measured(self) -> Iterator[tuple[str, Measurement]]:
        """Everything that was measured, by name."""
        for name in {**self.visits, **self._published}:
            found = self.measurement(name)
            assert found is not None
            yield name, found

    def blocks(self) -> Iterator[Block]:
        """Every block that has a time."""
        for name in {**self.visits, **self._published}:
            if name.split(" ")[0] in Block.kinds:  # and not a net's
                yield Block.parse(name)

    def pending(self, names: Iterable[str], plan: Plan) -> list[str]:
        """Those of `names` that the plan wants more rounds of, in the order given."""
        found = ((name, self.measurement(name)) for name in names)
        return [name for name, m in found if m is None or not m.converged(plan)]

    def missing(self, blocks: Iterable[Block]) -> list[Block]:
        """Those of `blocks` that were never measured."""
        return [block for block in blocks if block.key not in self.visits and block.key not in self._published]

    def block_ms(self, block: Block) -> float:
        """Latency of one block; raises MissingBlockError, never guesses."""
        found = self.measurement(block.key)
        if found is None:
            raise MissingBlockError(self.path, [block])
        return found.latency_ms

    def latency_ms(self, blocks: Iterable[Block]) -> float:
        """Sum of the blocks' latencies, uncalibrated; raises MissingBlockError naming all that lack."""
        blocks = list(blocks)
        if missing := self.missing(blocks):
            raise MissingBlockError(self.path, missing)
        return math.fsum(self.block_ms(block) for block in blocks)

    def calibration(self, prefix: str) -> Calibration:
        """How blocks relate to whole nets whose names begin with `prefix`; raises InvalidInputError if too few."""
        names = [name for name in self.nets if name.startswith(prefix) and name in self.visits]
        nets = [[Block.parse(key) for key in self.nets[name]] for name in names]
        if missing := self.missing(dict.fromkeys(block for net in nets for block in net)):
            raise MissingBlockError(self.path, missing)
        measured = [m.latency_ms for name in names if (m := self.measurement(name))]
        return Calibration.fit([[(self.block_ms(block), block.params) for block in net] for net in nets], measured)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the table's file, to say which table a promise was made from."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def _append(self, record: dict[str, Any]) -> None:
        _visits(record)  # what no reader would take must not get into the file
        self._log.append(record)
        self._take_all([record])

    def _take_all(self, records: Iterable[dict[str, Any]]) -> None:
        self.__dict__.pop("content_hash", None)
        self.__dict__.pop("calm_ms", None)
        self._measurements.clear()
        for record in records:
            # Kinds of records that later versions add are passed over: they add facts, they do not change these.
            for name, visit in _visits(record).items():
                self.visits.setdefault(name, []).append(visit)
            if "published" in record:
                self._published[str(record["published"]["name"])] = float(record["published"]["ms"])
            if "state" in record:
                self.states.append(dict(record["state"]))
            if "calibration" in record:
                kept = record["calibration"]
                facts = {key: float(kept[key]) for key in ("count", "mean_error_pct", "max_error_pct")}
                self.calibrations[str(kept["nets"])] = facts
            if "net" in record:
                self.nets[str(record["net"]["name"])] = tuple(record["net"]["blocks"])

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"{self.path} is damaged: {error!r}; move it away to start anew") from error


def _visits(record: dict[str, Any]) -> dict[str, Visit]:
    found = {
        name: Visit(ms, sentinel_ms, preempted[:1] == [1])
        for name, (ms, sentinel_ms, *preempted) in record.get("round", {}).items()
    }
    for name, visit in found.items():
        if not (0 < visit.ms < math.inf and 0 < visit.sentinel_ms < math.inf):
            raise ValueError(f"{name} took {visit.ms} ms beside {visit.sentinel_ms} ms")
    return found


def _rounded(sample_ms: float) -> float:
    return float(f"{sample_ms:.6g}")  # finer than any clock here; keeps the file a third of the size


def relative_costs(first: LatencyTable, second: LatencyTable) -> list[tuple[str, float, float, float]]:
    """Entries of both tables as (name, ms in first, ms in second, ratio), the greatest disagreement first.

    The ratio is second / first, divided by its median: how much dearer than usual an entry is on the second device.
    Raises InvalidInputError if the tables have no entry in common.
    """
    mine, theirs = dict(first.measured()), dict(second.measured())
    names = [name for name in mine if name in theirs]
    if not names:
        raise InvalidInputError(
            f"{first.path} and {second.path} have no entry in common: profile the same space on both"
        )
    ratios = np.array([theirs[name].latency_ms / mine[name].latency_ms for name in names])
    ratios /= np.median(ratios)
    order = np.argsort(-np.abs(np.log(ratios)), kind="stable")
    return [(names[i], mine[names[i]].latency_ms, theirs[names[i]].latency_ms, float(ratios[i])) for i in order]


def published_fingerprint(device: str) -> Fingerprint:
    """The fingerprint of a device that is known from a published table only."""
    return Fingerprint(
        machine=device, cores=0, runtime=PUBLISHED, runtime_version="", precision="fp32", threads=0, batch=1
    )
