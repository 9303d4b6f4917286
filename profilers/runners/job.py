"""What a runner on a device is asked (a Job) and what it answers (lines of a result file): plain text, both ways.

A job names model files by number, so that no name a user gave ever reaches the device. The answer grows line by line
while the device measures, so that whatever ends it, every whole line counts:

    hwnas-result 1 TOKEN
    runtime 1.31.1
    at 3                          model 3 is about to be loaded or visited: if the runner dies now, it was this one
    visit ROUND MODEL MS SENTINEL_MS PREEMPTED
    failed MODEL WHY              the runtime refuses this one; the others go on
    refused WHY                   the whole job cannot be done
    end VISITS
"""

import re
from collections.abc import Container
from dataclasses import dataclass, field

from profilers.errors import DeviceError, InvalidInputError
from profilers.local import LOADS, SMALL_MS
from profilers.measurement import Plan, Visit

VERSION = 1
MOST_MODELS = 10**9
DEADLINE_S = 900.0  # for loading, which takes an emulated board minutes


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stretch of shuffled rounds over numbered model files, all in one process on the device."""

    token: str
    models: dict[int, str]  # the file of each, relative to the job's folder
    sentinel: str
    clock: str
    threads: int
    cpus: tuple[int, ...]
    plan: Plan  # of which the device heeds warm-up and visits
    rounds: int
    seconds: float
    seed: int

    @property
    def deadline_s(self) -> int:
        """After so many seconds the runner is gone, whatever it hangs in and whoever has forgotten it."""
        return round(self.seconds + DEADLINE_S)

    def __str__(self) -> str:
        lines = [
            f"hwnas-job {VERSION} {self.token}",
            f"clock {self.clock}",
            f"threads {self.threads}",
            *([f"cpus {','.join(map(str, self.cpus))}"] if self.cpus else []),
            f"warmup {self.plan.warmup_runs}",
            f"visit_ms {self.plan.visit_ms:g}",
            f"rounds {self.rounds}",
            f"seconds {self.seconds:g}",
            f"deadline {self.deadline_s}",
            f"seed {self.seed}",
            f"loads {LOADS} {SMALL_MS:g}",
            f"sentinel {self.sentinel}",
            *(f"model {number} {file}" for number, file in self.models.items()),
        ]
        return "\n".join([*lines, ""])

    @classmethod
    def parse(cls, text: str) -> "Job":
        """The job that `str` made this text of; raises InvalidInputError."""
        pairs = [line.partition(" ")[::2] for line in text.splitlines()]
        words, models = dict(pairs), [value.split(" ") for key, value in pairs if key == "model"]
        try:
            version, token = words["hwnas-job"].split(" ")
            if int(version) != VERSION:
                raise ValueError(f"version {version}")
            return cls(
                token=token,
                models={int(number): file for number, file in models},
                sentinel=words["sentinel"],
                clock=words["clock"],
                threads=int(words["threads"]),
                cpus=tuple(map(int, words["cpus"].split(","))) if "cpus" in words else (),
                plan=Plan(target_pct=1.0, warmup_runs=int(words["warmup"]), visit_ms=float(words["visit_ms"])),
                rounds=int(words["rounds"]),
                seconds=float(words["seconds"]),
                seed=int(words["seed"]),
            )
        except (KeyError, ValueError) as error:
            raise InvalidInputError(f"a job of another hwnas is not understood: {error}") from error


@dataclass
class Answer:
    """What has been read of a result file so far; `take` adds what has come since."""

    token: str
    models: Container[int] = range(MOST_MODELS)  # the numbers that were asked about
    begun: bool = False
    runtime: str = ""
    at: int | None = None
    visits: list[tuple[int, int, Visit]] = field(default_factory=list)  # round, model, visit
    failed: dict[int, str] = field(default_factory=dict)
    refused: str = ""
    ended: bool = False
    died: str = ""  # what the runner left in its log when it went without ending its answer
    text: str = ""  # all of it, ASCII
    _rounds: set[tuple[int, int]] = field(default_factory=set)  # round and model of every visit

    @property
    def taken(self) -> int:
        """How many bytes have been read: where to read on."""
        return len(self.text)

    def take(self, text: str) -> None:
        """Read the whole lines of `text`, which follows what was taken before; half a line waits for its rest.

        Raises DeviceError, quoting it, for a line that is not understood or an answer to another job.
        """
        whole = text[: text.rfind("\n") + 1]
        self.text += whole
        for line in whole.split("\n")[:-1]:
            if not self.begun:
                self._begin(line)
            elif self.ended or not self._understood(line):
                raise DeviceError(
                    f"the device's result file holds {line[:80]!r}, which is no answer of our runner: see that nothing "
                    "else writes there, and start again"
                )

    def _begin(self, line: str) -> None:
        if line != f"hwnas-result {VERSION} {self.token}":
            raise DeviceError(
                f"the device's result file begins with {line[:80]!r} and not with this job's token: another program "
                "writes to the same folder; give the device to one at a time"
            )
        self.begun = True

    def _understood(self, line: str) -> bool:
        match line.split(" "):
            case ["runtime", version]:
                self.runtime = version
            case ["at", number] if self._asked(number):
                self.at = int(number)
            case ["visit", turn, number, *words] if _VISIT.fullmatch(line) and self._asked(number):
                return self._visited(int(turn), int(number), *words)
            case ["failed", number, *why] if self._asked(number):
                self.failed[int(number)] = " ".join(why) or "no reason given"
            case ["refused", *why]:
                self.refused = " ".join(why) or "no reason given"
            case ["end", count] if count == str(len(self.visits)):
                self.ended = True
            case _:
                return False
        return True

    def _asked(self, number: str) -> bool:
        return bool(_NUMBER.fullmatch(number)) and int(number) in self.models

    def _visited(self, turn: int, model: int, ms: str, sentinel_ms: str, preempted: str) -> bool:
        """Take in a visit; false where the model had its visit in that round, or the round is over."""
        last = self.visits[-1][0] if self.visits else 0
        if turn < last or (turn, model) in self._rounds:
            return False
        self._rounds.add((turn, model))
        self.visits.append((turn, model, Visit(float(ms), float(sentinel_ms), preempted == "1")))
        return True


_NUMBER = re.compile(r"[0-9]{1,9}")
_TIME = r"(?!0+\.0+ )[0-9]{1,9}\.[0-9]+"  # a visit of no time at all is no visit: the clock of the device stood still
_VISIT = re.compile(rf"visit {_NUMBER.pattern} {_NUMBER.pattern} {_TIME} {_TIME} [01]")
