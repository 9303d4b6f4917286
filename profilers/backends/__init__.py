"""Runtimes that time a model in this process: one file each, which is a Backend; the file's name is the runtime's.

A backend imports its runtime only when it is used, inside its functions.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from profilers import plugins
from profilers.errors import UnknownNameError
from profilers.graph import Array

if TYPE_CHECKING:
    from profilers.device import Device

FOR_TESTS = "fake"

Session = Callable[[], float]
"""A model made ready: each call runs it once and returns how long that took, in ms."""

CLOCKS = {"wall": time.perf_counter_ns, "cpu": time.process_time_ns}
"""What times a run: the clock on the wall, or the process's CPU time, which is all that an emulated device repeats."""


class Backend(Protocol):
    """What a file in this folder holds."""

    FORMAT: str  # the model format it reads, a name from profilers.formats
    PRECISIONS: tuple[str, ...]  # those it runs, names from profilers.formats

    def version(self) -> str:
        """The runtime's version; raises DeviceError where it is not installed."""
        ...

    def machine(self) -> str:
        """What the runtime computes on."""
        ...

    def load(self, content: bytes, device: "Device") -> Session:
        """Make a model file ready to run on fixed random input; raises DeviceError if the runtime refuses it."""
        ...

    def compute(self, content: bytes, images: Array) -> Array:
        """What a file makes of any number of images, (n, C, H, W), given in batches of its own size: (n, …)."""
        ...


def names() -> tuple[str, ...]:
    """The runtimes there are."""
    return plugins.names(__name__)


def check(name: str) -> None:
    """Raise UnknownNameError if there is no such runtime; the one that is for tests alone is not offered to users."""
    if name not in names():
        raise UnknownNameError("runtime", name, [known for known in names() if known != FOR_TESTS])


def load(name: str) -> Backend:
    """The backend called `name`; raises UnknownNameError."""
    check(name)
    return cast(Backend, plugins.load(__name__, "runtime", name))


def in_batches(images: Array, size: int, run: Callable[[Array], Array]) -> Array:
    """What `run` makes of images, (n, …), given `size` at a time, the last batch filled up from the front."""
    padded = np.resize(images, (-(-len(images) // size) * size, *images.shape[1:]))
    return np.concatenate([run(batch) for batch in np.split(padded, len(padded) // size)])[: len(images)]


def timed(run: Callable[[], object], clock: str) -> Session:
    """A session that times `run` by one of the CLOCKS."""
    now_ns = CLOCKS[clock]

    def session() -> float:
        start = now_ns()
        run()
        return (now_ns() - start) / 1e6

    return session
