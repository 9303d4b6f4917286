"""Profiling this machine: the models run in this process, pinned to the device's CPUs while a round runs."""

import gc
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from profilers import backends
from profilers.backends import Session
from profilers.device import Device, Fingerprint, fingerprint
from profilers.errors import DeviceError, InvalidInputError
from profilers.formats import ModelFile
from profilers.graph import Array, Graph
from profilers.measurement import Plan, Visit
from profilers.profiler import Profiler
from profilers.rounds import Round, shuffled_rounds
from profilers.state import State, machine_state

LOADS, SMALL_MS = 4, 0.5
"""Models that stay in a cache are loaded several times: where the runtime happens to lay out their memory decides about
10 % of what they take, for as long as they are loaded. One load would measure luck; the lower quartile over several
finds the layout that most loads have. Larger models do not show it, and would take too much memory."""
SENTINEL_TRIALS = 30


class LocalProfiler(Profiler):
    """Times models in this process, pinned to the device's CPUs while a round runs."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._backend = backends.load(device.runtime)
        self.format = self._backend.FORMAT

    def fingerprint(self) -> Fingerprint:
        """What the times depend on."""
        return fingerprint(self.device)

    def state(self) -> State:
        """The state of this machine."""
        return machine_state()

    def measure(
        self,
        models: Mapping[str, ModelFile],
        plan: Plan,
        earlier: Mapping[str, Sequence[Visit]] | None = None,
        calm_ms: float = math.inf,
    ) -> Iterator[Round]:
        """Time a batch of models in shuffled rounds beside the sentinel."""
        with _undisturbed(self.device):
            sentinel = self._sentinel()
            sessions = self._all_sessions(models)
        rng = np.random.default_rng(len(models))
        rounds = shuffled_rounds(sessions, sentinel, plan, earlier or {}, calm_ms, rng, self.device.clock)
        while True:
            with _undisturbed(self.device):  # the caller's own work between two rounds is not pinned
                done = next(rounds, None)
            if done is None:
                return
            yield done

    def _sentinel(self) -> Session:
        """The fastest load of the sentinel: an unlucky one would make a whole batch look disturbed."""
        loads = [self._session("sentinel", self._sentinel_model()) for _ in range(LOADS)]
        times = [[load() for load in loads] for _ in range(SENTINEL_TRIALS)]
        return loads[int(np.argmin(np.min(times, axis=0)))]

    def _sentinel_model(self) -> ModelFile:
        return self.model(sentinel_graph(self.device.batch), inner=True)

    def _all_sessions(self, models: Mapping[str, ModelFile]) -> dict[str, list[Session]]:
        """The loads of each model, those of one as far apart in memory as can be."""
        sessions, small = dict[str, list[Session]](), list[str]()
        for name, model in models.items():
            try:
                first = self._session(name, model)
                if min(first() for _ in range(3)) < SMALL_MS:
                    small.append(name)
                sessions[name] = [first]
            except DeviceError as error:
                self._failed(name, error)
        for _ in range(LOADS - 1):
            for name in small:
                sessions[name].append(self._session(name, models[name]))
        return sessions

    def _failed(self, name: str, error: DeviceError) -> None:  # noqa: ARG002 - a runner elsewhere reports the name
        raise error

    def _session(self, name: str, model: ModelFile) -> Session:
        self._check_format(name, model)
        try:
            run = self._backend.load(model.content, self.device)
        except DeviceError as error:
            raise DeviceError(f"{name}: {error}") from error

        def named() -> float:
            try:
                return run()
            except Exception as error:  # runtimes' exceptions share no base
                raise DeviceError(f"{name} failed while it ran: {error}") from error

        return named


def sentinel_graph(batch: int) -> Graph:
    """The model beside every visit: pointwise and depthwise convolutions in turn, about 0.1 ms on a CPU.

    It is a mixture of what mobile networks consist of, because what slows a device does not slow all
    operations alike: dense convolutions hardly notice a neighbour that costs these a third.
    """
    rng = np.random.default_rng(0)
    graph = Graph((batch, 24, 16, 16))
    y = graph.input
    for in_chs, out_chs, kernel in ((24, 96, 1), (96, 96, 5), (96, 24, 1), (24, 96, 1), (96, 96, 3), (96, 24, 1)):
        groups = in_chs if kernel > 1 else 1
        shape = (out_chs, in_chs // groups, kernel, kernel)
        weight: Array = rng.standard_normal(shape, dtype=np.float32) / np.float32(np.prod(shape[1:]) ** 0.5)
        y = graph.conv(y, weight, np.zeros(out_chs, np.float32), groups=groups)
        y = y if out_chs == 24 else graph.activation(y, "hswish")
    return graph.finish(y)


@contextmanager
def _undisturbed(device: Device) -> Iterator[None]:
    """Pin this thread to the device's CPUs and keep the garbage collector out, for the time of a round."""
    pins = hasattr(os, "sched_setaffinity")
    before = os.sched_getaffinity(0) if pins else set()
    cpus = set(device.cpus) or set(sorted(before)[-device.threads :])
    if pins and not cpus <= before:
        raise InvalidInputError(f"device {device.name!r}: CPUs {sorted(cpus - before)} are not there, or not allowed")
    collected = gc.isenabled()
    try:
        if pins:
            os.sched_setaffinity(0, cpus)
        gc.disable()
        yield
    finally:
        if pins:
            os.sched_setaffinity(0, before)
        if collected:
            gc.enable()
