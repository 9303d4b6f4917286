"""Shells: how commands and files reach a device that is not this machine; one file for each way, named like its scheme.

`adb://SERIAL` and `ssh://[user@]host[:port]` are addresses. A Shell connects when it is first used, and again when it
is used after a loss: whoever drives it only decides how long to be patient. All that a shell can fail with:

    DeviceError            for good: the message says what to do about it
    └── LostError          the device went away or did not answer in time: the same call may succeed later
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import unquote

from profilers import plugins
from profilers.errors import DeviceError, InvalidInputError

ANSWER_S = 20.0  # how long a command that only looks something up may take


@dataclass(frozen=True)
class Done:
    """What came of a command that ran to its end on the device."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Found:
    """A device that was found without being configured, or could be: its address, and how it is."""

    connect: str
    state: str  # ready, offline, unauthorised, unreachable
    advice: str = ""  # what to do about a state that is not ready
    description: str = ""  # e.g. the phone's model


class Shell(Protocol):
    """One device at the far end of a connection. Not for several threads at once."""

    folder: str
    """Where files of ours may lie on the device; begins with / or is relative to where commands start."""

    def run(self, command: Sequence[str], timeout_s: float = ANSWER_S) -> Done:
        """Run a program with its arguments, as they are: none of them is seen by a shell as anything but text.

        Raises LostError where the connection broke, or the time was over, before the program's exit code was known.
        """
        ...

    def push(self, files: Iterable[Path], folder: str, timeout_s: float) -> None:
        """Copy local files into a folder that exists on the device, under their names.

        Raises LostError as `run` does, DeviceError where the device refuses them: disk full, no permission, no folder.
        """
        ...

    def pull(self, path: str, timeout_s: float = ANSWER_S) -> bytes:
        """The content of a file on the device; raises DeviceError where there is none that can be read."""
        ...

    def close(self) -> None:
        """Let go of the connection; a later call would connect again."""
        ...


class Connector(Protocol):
    """What a file in this folder holds."""

    def open_shell(self, address: str) -> Shell:
        """A shell on the device at `address`, which is what follows `scheme://`; connects to nothing yet.

        Raises InvalidInputError for what is no address.
        """
        ...

    def check_installed(self) -> None:
        """Raise DeviceError, which says what to install, if what reaches devices this way is not there."""
        ...

    def discover(self) -> list[Found]:
        """The devices that can be seen without being told where they are; none where that is not possible.

        Raises DeviceError where it should be, and what would find them is broken or hangs.
        """
        ...


def schemes() -> tuple[str, ...]:
    """The ways to reach a device that there are."""
    return plugins.names(__name__)


def connector(scheme: str) -> Connector:
    """The connector called `scheme`; raises UnknownNameError."""
    return cast(Connector, plugins.load(__name__, "connection", scheme))


def open_shell(connect: str) -> Shell:
    """The shell that an address like `adb://SERIAL` names; raises InvalidInputError or UnknownNameError."""
    scheme, separator, address = connect.partition("://")
    if not separator or not address:
        raise InvalidInputError(f"{connect!r} is no address: use local, adb://SERIAL or ssh://user@host:port")
    return connector(scheme).open_shell(unquote(address))


def discovered() -> list[Found]:
    """The devices that can be seen in any way; a way that is broken is told of in the place of its devices."""
    found = list[Found]()
    for scheme in schemes():
        try:
            found += connector(scheme).discover()
        except DeviceError as error:
            found.append(Found(f"{scheme}://", "not usable", str(error)))
    return found
