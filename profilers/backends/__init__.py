"""Runtimes that time a model in this process: one file each, which is a Backend; the file's name is the runtime's.

A backend imports its runtime only when it is used, inside its functions.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

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


def example(shape: Sequence[int], kind: Any, rng: np.random.Generator) -> NDArray[Any]:
    """Random input of a numpy type: floats around 0, any bytes, 0 or 1 as larger integers, which are ids."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape, dtype=np.float32), dtype)
    if dtype.itemsize > 1 or dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape, dtype=dtype)


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep what runtimes say of themselves in INFO lines from the terminal; what else they write to stderr comes after.

    They write to the file descriptor, which no Python stream sees.
    """
    try:
        kept = os.dup(2)
    except OSError:  # closed: there is nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            said.seek(0)
            for line in said:
                if not line.startswith(b"INFO"):
                    with suppress(OSError):
                        os.write(kept, line)
            os.close(kept)


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
