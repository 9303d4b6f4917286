"""What is read of a device is bounded: one that never stops answering must not fill this machine's memory or disk."""

import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from profilers.errors import DeviceError

MAX_ANSWER_BYTES = 64 << 20  # a command's output or a result file; those of a long measurement take a few MB
CHUNK_BYTES = 1 << 16
LOOK_S = 0.1  # between two looks at a file that a program writes


class AnswerTooLongError(DeviceError):
    """`what` gave more than `MAX_ANSWER_BYTES`."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} gave more than {MAX_ANSWER_BYTES >> 20} MiB, where some kB were expected, and was not read on: "
            "see what is printed there"
        )


def run_bounded(
    command: Sequence[str], timeout_s: float, written: Path | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run a program of this machine without input, and collect what it prints.

    The program is killed when its time is over (raises subprocess.TimeoutExpired), and as soon as one of its outputs,
    or the file `written` by it, is larger than `MAX_ANSWER_BYTES` (raises AnswerTooLongError). Raises OSError where
    it cannot be started.
    """
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        printed = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        until = time.monotonic() + timeout_s
        try:
            for left_s in _collect(printed, until, LOOK_S if written else timeout_s):
                file_bytes = written.stat().st_size if written and written.exists() else 0
                if max(file_bytes, *map(len, printed.values())) > MAX_ANSWER_BYTES:
                    raise AnswerTooLongError(Path(command[0]).name)
                if left_s <= 0:
                    raise subprocess.TimeoutExpired(command, timeout_s)
            process.wait(max(0.0, until - time.monotonic()))
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, *map(bytes, printed.values()))


def _collect(printed: Mapping[int, bytearray], until: float, look_s: float) -> Iterator[float]:
    """Read pipes, by their descriptors, to their ends; yields the seconds that are left after every look at them."""
    with selectors.DefaultSelector() as selector:
        for descriptor in printed:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, min(until - time.monotonic(), look_s))):
                if chunk := os.read(key.fd, CHUNK_BYTES):
                    printed[key.fd] += chunk
                else:
                    selector.unregister(key.fd)
            yield until - time.monotonic()
