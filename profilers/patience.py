"""A shell that waits for its device: cables come loose, boards reboot, networks pause."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from profilers.errors import LostError
from profilers.shells import ANSWER_S, Done, Shell

PATIENCE_S = 60.0
FIRST_PATIENCE_S = (
    10.0  # with a device that has not been reached yet: it may just be plugged in, or not be there at all
)
RETRY_S = 1.0

T = TypeVar("T")
Tell = Callable[[str], None]
"""Called with what the user of a device should know: that it was lost, that it cools down."""


def silent(text: str) -> None:
    """Tell nobody."""


class PatientShell:
    """Any shell, whose calls are tried again for a minute after the device was lost.

    So a command may run twice, where only its answer was lost: callers ask for what may be asked twice.
    """

    def __init__(self, shell: Shell, tell: Tell) -> None:
        self._shell, self._tell = shell, tell
        self.folder = shell.folder
        self.patience_s = min(FIRST_PATIENCE_S, PATIENCE_S)
        self._reached = False

    def run(self, command: Sequence[str], timeout_s: float = ANSWER_S) -> Done:
        """Run a program; see Shell."""
        return self._until_there(lambda: self._shell.run(command, timeout_s))

    def push(self, files: Iterable[Path], folder: str, timeout_s: float) -> None:
        """Copy files onto the device; see Shell."""
        sources = list(files)
        self._until_there(lambda: self._shell.push(sources, folder, timeout_s))

    def pull(self, path: str, timeout_s: float = ANSWER_S) -> bytes:
        """A file's content; see Shell."""
        return self._until_there(lambda: self._shell.pull(path, timeout_s))

    def close(self) -> None:
        """Let go of the connection."""
        self._shell.close()

    def _until_there(self, call: Callable[[], T]) -> T:
        lost_at = None
        while True:
            try:
                found = call()
                if not self._reached:
                    self._reached, self.patience_s = True, PATIENCE_S
                return found
            except LostError as error:
                now = time.monotonic()
                if lost_at is None and self.patience_s:
                    self._tell(f"{error}; trying again for {self.patience_s:.0f} s")
                lost_at = now if lost_at is None else lost_at
                if now - lost_at >= self.patience_s:
                    kept = ", what was measured is kept" if self._reached else ""
                    raise LostError(f"{error}; given up after {self.patience_s:.0f} s{kept}") from error
            time.sleep(RETRY_S)
