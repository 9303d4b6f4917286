"""Runtimes that time a model in this process: one file each, which is a Backend; the file's name is the runtime's.

A backend imports its runtime only when it is used, inside its functions.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from profilers import plugins

if TYPE_CHECKING:
    from profilers.device import Device

Session = Callable[[], float]
"""A model made ready: each call runs it once and returns how long that took, in ms."""


class Backend(Protocol):
    """What a file in this folder holds."""

    FORMAT: str  # the model format it reads, a name from profilers.formats

    def version(self) -> str:
        """The runtime's version; raises DeviceError where it is not installed."""
        ...

    def machine(self) -> str:
        """What the runtime computes on."""
        ...

    def load(self, content: bytes, device: "Device") -> Session:
        """Make a model file ready to run on fixed random input; raises DeviceError if the runtime refuses it."""
        ...


def names() -> tuple[str, ...]:
    """The runtimes there are."""
    return plugins.names(__name__)


def load(name: str) -> Backend:
    """The backend called `name`; raises UnknownNameError."""
    return cast(Backend, plugins.load(__name__, "runtime", name))
