"""A device that is a folder of this machine: a Shell that can be told to fail as real ones do."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from profilers.errors import DeviceError, LostError
from profilers.shells import ANSWER_S, Done

T = TypeVar("T")
Moment = Literal["before", "after"]


@dataclass
class LocalShell:
    """Runs commands in `home`, where the device keeps our files in `hwnas 1`: a name that no script may fall over."""

    home: Path
    lost: dict[int, Moment] = field(default_factory=dict)  # calls whose connection breaks: before or after their effect
    away_until: float = 0.0  # by time.monotonic: the device cannot be reached before
    full: bool = False  # no file can be copied there
    system: Path | None = None  # a tree whose /sys the device has
    before: Callable[[tuple[str, ...]], None] = lambda _: None
    calls: list[tuple[str, ...]] = field(default_factory=list)
    closed: int = 0
    folder: str = "hwnas 1"

    @property
    def place(self) -> Path:
        """The device's folder, as this machine sees it."""
        return self.home / self.folder

    def processes(self) -> list[int]:
        """What runs on the device: every process that is somewhere in its home."""
        found = []
        for place in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):  # it has ended, or is somebody else's
                if str(place.readlink()).startswith(str(self.home)):
                    found.append(int(place.parent.name))
        return found

    def idle(self) -> bool:
        """Whether nothing runs there, or what was killed just now is gone within a second."""
        until = time.monotonic() + 1.0
        while self.processes() and time.monotonic() < until:
            time.sleep(0.01)
        return not self.processes()

    def run(self, command: Sequence[str], timeout_s: float = ANSWER_S) -> Done:
        moment = self._called("run", *command)
        words = [word.replace("/sys/", f"{self.system}/sys/") if self.system else word for word in command]
        try:
            done = subprocess.run(words, cwd=self.home, capture_output=True, timeout=timeout_s, check=False)
            found = Done(done.returncode, *(text.decode("utf-8", "replace") for text in (done.stdout, done.stderr)))
        except FileNotFoundError:
            found = Done(127, "", f"{words[0]}: not found")
        except subprocess.TimeoutExpired as error:
            raise LostError(f"no answer within {timeout_s:.0f} s") from error
        return self._answered(moment, found)

    def push(self, files: Iterable[Path], folder: str, timeout_s: float) -> None:  # noqa: ARG002
        sources = list(files)
        moment = self._called("push", *(path.name for path in sources), folder)
        if self.full:
            raise DeviceError(f"{folder} is full: No space left on device")
        for path in sources:
            try:
                shutil.copyfile(path, self.home / folder / path.name)
            except OSError as error:
                raise DeviceError(f"{folder} takes no files: {error.strerror}") from error
        self._answered(moment, None)

    def pull(self, path: str, timeout_s: float = ANSWER_S) -> bytes:  # noqa: ARG002
        moment = self._called("pull", path)
        return self._answered(moment, (self.home / path).read_bytes())

    def close(self) -> None:
        self.closed += 1

    def _called(self, *words: str) -> Moment | None:
        self.calls.append(words)
        self.before(words)
        moment = self.lost.get(len(self.calls) - 1)
        if moment == "before" or time.monotonic() < self.away_until:
            raise LostError("the cable is out")
        return moment

    def _answered(self, moment: Moment | None, found: T) -> T:
        if moment == "after":
            raise LostError("the cable came out")
        return found
