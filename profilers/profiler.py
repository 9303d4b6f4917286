"""A Profiler times model files on one device: `measure` and `close`, usable in a `with` statement."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from profilers.device import Device, Fingerprint
from profilers.errors import InvalidInputError
from profilers.formats import ModelFile, write
from profilers.graph import Array, Graph
from profilers.measurement import Plan, Visit
from profilers.patience import Tell, silent
from profilers.rounds import Round
from profilers.state import State


class Profiler(ABC):
    """Something that times model files on a device."""

    device: Device
    format: str  # of the model files it takes

    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """What the times depend on."""

    def model(self, graph: Graph, *, images: Array | None = None, inner: bool = False) -> ModelFile:
        """A graph as a file that the device takes, in its precision; see `profilers.formats.write`."""
        return write(graph, self.format, self.device.form, images=images, inner=inner)

    @abstractmethod
    def measure(
        self,
        models: Mapping[str, ModelFile],
        plan: Plan,
        earlier: Mapping[str, Sequence[Visit]] | None = None,
        calm_ms: float = math.inf,
    ) -> Iterator[Round]:
        """Time a batch of models by name, yielding each round as it ends, so that the caller can keep it.

        A round without visits only says that the device is still at it.

        `earlier` holds the visits of an interrupted measurement, `calm_ms` what the sentinel takes on the undisturbed
        device, if that is known. Raises DeviceError, naming the model, when the device fails.
        """

    def visits(self, models: Mapping[str, ModelFile], plan: Plan) -> dict[str, list[Visit]]:
        """All visits of models that are measured once, with nothing known before; raises as `measure` does."""
        found: dict[str, list[Visit]] = {name: [] for name in models}
        for done in self.measure(models, plan):
            for name, visit in done.visits.items():
                found[name].append(visit)
        return found

    def _check_format(self, name: str, model: ModelFile) -> None:
        if model.format != self.format:
            raise InvalidInputError(
                f"{name} is a {model.format} file; runtime {self.device.runtime} takes {self.format}"
            )

    def state(self) -> State:
        """The device's clock, temperature and load at this moment, as far as it tells; see `profilers.state`."""
        return {}

    def close(self) -> None:  # noqa: B027 - most devices hold nothing
        """Let go of the device."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_profiler(device: Device, tell: Tell = silent) -> Profiler:
    """The profiler that reaches `device`; `tell` is called with what its user should know while it works.

    >>> with open_profiler(Device(name="toy", runtime="fake")) as profiler:
    ...     profiler.fingerprint().machine
    'fake'
    """
    if device.connect == "local":
        from profilers.local import LocalProfiler

        return LocalProfiler(device)
    from profilers.remote import RemoteProfiler

    return RemoteProfiler(device, tell)
