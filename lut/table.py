"""A LatencyTable: what each block costs on one device, from measured rounds that are all kept.

The file is a log (`lut.storage`) of these kinds of records behind a header that names the device:

    {"round": {"<block key or net name>": [ms, sentinel_ms], …}}         and a third figure, 1, if preempted
    {"net": {"name": "net digits:…", "blocks": ["<block key>", …]}}
    {"state": {"time": "<UTC>", "max_mhz": 2500.0, "max_celsius": 45.0, …}}  before and after each batch
    {"calibration": {"nets": "net digits:", "mean_error_pct": 1.2, …}}     as it was when profiling ended
    {"published": {"name": "<block key>", "ms": 4.8, "runs": 54, "std_ms": 0.1, "source": "<file>"}}

Medians, intervals and the calibration are derived from rounds and nets whenever they are asked for; they speak of
the undisturbed device, as the sentinel knew it in the calmest batch of the table. docs/table-format.md has every field.
"""

import datetime
import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from lut.blocks import Block
from lut.calibration import PLAIN_SUM, Calibration
from lut.compiled import Compiled, Space, on_grid
from lut.latency_model import Guess, LatencyModel
from lut.published import PUBLISHED, PublishedEntry, pooled
from lut.records import fingerprint_in, net_in, published_in, published_record, rounded, visits_in
from lut.residual import calibrate
from lut.storage import RecordLog
from lut.transferred import Transferred
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import Measurement, Plan, Visit, calmest_batch_ms, undisturbed
from profilers.rounds import Round
from profilers.state import State

FORMAT, VERSION = "hwnas-table", 1


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
        self.batches: dict[str, list[int]] = {}  # for each visit: how many states were noted before it
        self._published: dict[str, dict[str, PublishedEntry]] = {}  # by name and source
        self.states: list[dict[str, Any]] = []
        self.calibrations: dict[str, dict[str, float]] = {}
        self.transfers: dict[str, Transferred] = {}
        with self._damage_reported():
            self.device_name = str(log.header["device"])
            self.fingerprint = fingerprint_in(log.header["fingerprint"])
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
            name: [rounded(v.ms), rounded(v.sentinel_ms), *([1] if v.preempted else [])]
            for name, v in found.visits.items()
        }
        self._append({"round": visits})

    def add_net(self, name: str, blocks: Iterable[Block]) -> str:
        """Say which blocks a whole net consists of; returns the name under which its times are to come in rounds.

        That is `name`, or `name #2` and so on where the table has a net of other blocks under it: one architecture for
        another number of classes is another net, and their times must not be mixed.
        """
        keys, number, kept = tuple(block.key for block in blocks), 1, name
        while self.nets.get(kept, keys) != keys:
            number += 1
            kept = f"{name} #{number}"
        if kept not in self.nets:
            self._append({"net": {"name": kept, "blocks": list(keys)}})
        return kept

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

    def add_published(self, entries: Iterable[tuple[str, PublishedEntry]]) -> None:
        """Keep what published files say, entries by the file's name; what is kept already is not written again.

        Raises InvalidInputError, before anything is written, where the table has another figure from a file so named.
        """
        known = {(e.block.key, source): published_record(e, source)
                 for found in self._published.values() for source, e in found.items()}  # fmt: skip
        lacking = []
        for source, entry in entries:
            record = published_record(entry, source)
            kept = known.setdefault((entry.block.key, source), record)
            if kept is record:
                lacking.append(record)
            elif kept != record:
                raise InvalidInputError(
                    f"{self.path} has {kept['ms']:g} ms of {entry.block.key} from {source}, and not {entry.ms:g} ms: "
                    "choose another --device, or give the file another name if it is another"
                )
        for record in lacking:
            self._append({"published": record})

    def add_transfer(self, prefix: str, found: Transferred) -> None:
        """Keep what was transferred from other devices to nets whose names begin with `prefix`; replaces older."""
        self._append({"transferred": {"nets": prefix, **found.record()}})

    def published(self, name: str) -> PublishedEntry | None:
        """What published files say of a block that was not measured, all their runs together; None if nothing."""
        found = {} if name in self.visits else self._published.get(name, {})
        return pooled(list(found.values())) if found else None

    @property
    def sources(self) -> tuple[str, ...]:
        """The published files that the table was made from."""
        return tuple(dict.fromkeys(source for found in self._published.values() for source in found))

    def measurement(self, name: str) -> Measurement | None:
        """What was measured of a block's key or a net's name, if anything."""
        if name not in self._measurements and name in self.visits:
            self._measurements[name] = undisturbed(self.visits[name], self.calm_ms)
        elif name not in self._measurements and (entry := self.published(name)):
            self._measurements[name] = Measurement((entry.ms,))
        return self._measurements.get(name)

    @cached_property
    def calm_ms(self) -> float:
        """What the sentinel takes on the undisturbed device: the speed that the table speaks of; infinite if empty."""
        batches = defaultdict[int, list[Visit]](list)
        for name, visits in self.visits.items():
            for batch, visit in zip(self.batches[name], visits, strict=True):
                batches[batch].append(visit)
        return calmest_batch_ms(batches.values()) if batches else math.inf

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
        return math.fsum(on_grid(self.block_ms(block)) for block in blocks)

    def compile(
        self,
        space: Space,
        calibration: Calibration = PLAIN_SUM,
        guess: Guess | None = None,
        needed: Collection[Block] | None = None,
    ) -> LatencyModel:
        """The latencies of all architectures of `space`: of each, by default, what `latency_ms` says, to the last bit.

        `guess` gives the time of blocks that were not measured. Raises MissingBlockError naming all blocks without a
        time, of those that are `needed`, by default all; others without one are unavailable: their cost is infinite.
        """
        unavailable = list[Block]()

        def added_ms(block: Block) -> float:
            try:
                return calibration.added_ms(block, guess.block_ms(block) if guess else self.block_ms(block))
            except (MissingBlockError, KeyError):  # the latter of what was transferred
                unavailable.append(block)
                return math.inf

        cost = Compiled.of(space, added_ms, constant=calibration.constant_ms)
        if lacking := [block for block in unavailable if needed is None or block in needed]:
            raise MissingBlockError(self.path, lacking)
        if guess is None or not guess.used:
            return LatencyModel(cost, calibration, unavailable=frozenset(unavailable))
        guessed = frozenset(guess.used) - frozenset(unavailable)

        def doubt(confidence_pct: float) -> Compiled:
            return Compiled.of(
                space,
                lambda b: calibration.per_ms * guess.doubt_ms(b, confidence_pct) if b in guessed else 0.0,
            )

        return LatencyModel(cost, calibration, guessed, doubt, frozenset(unavailable))

    def calibration(self, prefix: str) -> Calibration:
        """How blocks relate to whole nets whose names begin with `prefix`; raises InvalidInputError if too few.

        Nets with a block that has no time say nothing of how blocks relate to them, and are passed over. A published
        table without nets is a plain sum: there is nothing to judge it by.
        """
        names = [name for name in self.nets if name.startswith(prefix) and name in self.visits]
        if not names and self.fingerprint.runtime == PUBLISHED:
            return PLAIN_SUM
        blocks = {name: [Block.parse(key) for key in self.nets[name]] for name in names}
        priced = [name for name in names if not self.missing(blocks[name])]
        if names and not priced:
            raise MissingBlockError(self.path, self.missing(dict.fromkeys(b for net in blocks.values() for b in net)))
        names, nets = priced, [blocks[name] for name in priced]
        measured = [m.latency_ms for name in names if (m := self.measurement(name))]
        return calibrate([[(block, self.block_ms(block)) for block in net] for net in nets], measured)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the table's file, to say which table a promise was made from."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def _append(self, record: dict[str, Any]) -> None:
        visits_in(record)  # what no reader would take must not get into the file
        self._log.append(record)
        self._take_all([record])

    def _take_all(self, records: Iterable[dict[str, Any]]) -> None:
        self.__dict__.pop("content_hash", None)
        self.__dict__.pop("calm_ms", None)
        self._measurements.clear()
        for record in records:
            # Kinds of records that later versions add are passed over: they add facts, they do not change these.
            for name, visit in visits_in(record).items():
                self.visits.setdefault(name, []).append(visit)
                self.batches.setdefault(name, []).append(len(self.states))
            if "published" in record and (found := published_in(record["published"])):
                source, entry = found
                self._published.setdefault(entry.block.key, {})[source] = entry
            if "state" in record:
                self.states.append(dict(record["state"]))
            if "calibration" in record:
                kept = record["calibration"]
                facts = {key: float(kept[key]) for key in ("count", "mean_error_pct", "max_error_pct")}
                self.calibrations[str(kept["nets"])] = facts
            if "transferred" in record:
                self.transfers[str(record["transferred"]["nets"])] = Transferred.of(record["transferred"])
            if "net" in record:
                self.nets.update([net_in(record["net"])])

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"{self.path} is damaged: {error!r}; move it away to start anew") from error
