"""A runner that was started on a device and measures there on its own, while we look at its answer now and then.

The connection may break meanwhile: the runner goes on, and its answer is read when the device is back.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from profilers.errors import DeviceError
from profilers.runners import Site
from profilers.runners.job import Answer, Job

LOOK_FIRST_S, LOOK_S = 0.3, 2.0  # each look takes the device some ms of one core
START_S = 120.0  # a board that is emulated starts a program in half a minute

MAX_RESULT_BYTES = 16 << 20  # of one job: some 40 bytes for each repetition
_LOOK = """
tail -c "+$1" "$2/result" 2>/dev/null | head -c "$3"
printf '\\n--\\n%s ' "$(wc -c <"$2/result")"
pid=$(cat "$2/pid" 2>/dev/null) && tr '\\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null
"""
_END = """
pid=$(cat "$1/pid") && case "$(tr '\\000' ' ' <"/proc/$pid/cmdline")" in *"$2"*) kill -9 "$pid" ;; esac
"""
_LOG = 'tail -c 300 "$1/log" 2>/dev/null'


@dataclass
class StartedRunner:
    """Jobs are done by a program that reads FOLDER/job, detaches, and writes FOLDER/pid, FOLDER/log, FOLDER/result."""

    site: Site
    command: tuple[str, ...]  # to be followed by the job's folder and token
    version: str
    jobs: int = 0
    unended: str = ""  # the folder of a job that nobody has heard the end of

    def stretch(self, job: Job, folder: str) -> Iterator[Answer]:
        """Do a job; see Runner."""
        if self.unended:  # its reader knew enough, and went away: it must not run beside this one
            self.site.shell.run(["sh", "-c", _END, "sh", self.unended, job.token])
        self.jobs += 1
        self.unended = place = f"{folder}/job{self.jobs}"
        self._start(job, place)
        answer, alive, look_s = Answer(job.token, job.models), True, LOOK_FIRST_S
        while not answer.ended and not answer.refused:
            time.sleep(look_s)
            look_s = min(1.5 * look_s, LOOK_S)
            self.site.beat()
            known, was_alive = answer.taken, alive
            alive = self._look(job, place, answer)
            yield answer
            if answer.taken == known and not alive and not was_alive:  # twice: its last line may come between two looks
                answer.died = self._log(place)
                break
        self.unended = ""
        if answer.ended and self.site.shell.pull(f"{place}/result") != answer.text.encode():
            raise DeviceError(
                "the device's result file is not the one that was read while it grew: another program writes to the "
                "same folder; give the device to one at a time, and start again"
            )
        yield answer

    def _start(self, job: Job, place: str) -> None:
        with tempfile.TemporaryDirectory() as local:
            asked = Path(local) / "job"
            asked.write_text(str(job))
            self.site.run(["mkdir", "-p", place])
            self.site.push([asked], place)
        self.site.run([*self.command, place, job.token], START_S)

    def _look(self, job: Job, place: str, answer: Answer) -> bool:
        """Read on in the answer; returns whether the runner still runs."""
        words = [str(answer.taken + 1), place, str(MAX_RESULT_BYTES)]
        done = self.site.shell.run(["sh", "-c", _LOOK, "sh", *words])
        text, separator, rest = done.out.rpartition("\n--\n")
        size, _, command_line = rest.partition(" ")
        if not separator or not (size or "0").isdecimal():
            raise DeviceError(f"the device answered {done.out[:80]!r} {done.err[:80]!r} when the result was looked at")
        if len(size) > 12 or int(size or "0") > MAX_RESULT_BYTES:
            raise DeviceError(
                f"the device's result file has {size[:20]} bytes, more than any job gives: another program writes to "
                "the same folder; give the device to one at a time, and start again"
            )
        answer.take(text)
        if int(size or "0") < answer.taken:
            raise DeviceError(
                f"the device's result file was cut to {size or 'no'} bytes, of which {answer.taken} had been read: "
                "another program writes to the same folder; give the device to one at a time"
            )
        return job.token in command_line

    def _log(self, place: str) -> str:
        log = self.site.shell.run(["sh", "-c", _LOG, "sh", place]).out.strip()
        return " ".join(log.split()) or "it left no message, as where it crashed or was killed"
