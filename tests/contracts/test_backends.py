"""Every file in profilers/backends is a Backend: found by name, honest about its runtime, lazy, in milliseconds."""

import math
import subprocess
import sys
import time

import numpy as np
import pytest

from profilers import backends, formats
from profilers.backends import Backend
from profilers.device import Device, fingerprint
from profilers.errors import DeviceError, UnknownNameError
from profilers.graph import Graph
from profilers.measurement import Plan
from profilers.profiler import open_profiler, sentinel_graph


@pytest.fixture(params=backends.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backend(name: str) -> Backend:
    """A backend whose runtime is installed here."""
    found = backends.load(name)
    try:
        found.version()
    except DeviceError as error:
        pytest.skip(f"runtime {name} cannot be used here: {error}")
    return found


def everything(batch: int) -> Graph:
    """Every operation there is, in one graph."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    graph = Graph((batch, 3, 12, 12))
    x = graph.activation(graph.conv(graph.input, normal(8, 3, 3, 3), normal(8), stride=2), "hswish")
    y = graph.activation(graph.conv(x, normal(8, 1, 5, 5), normal(8), groups=8), "relu6")
    gate = graph.activation(graph.conv(graph.pool(y), normal(8, 8, 1, 1), normal(8)), "hsigmoid")
    y = graph.activation(graph.add(x, graph.mul(y, gate)), "relu")
    return graph.finish(graph.linear(graph.pool(y), normal(4, 8), normal(4)))


def test_the_name_loads_a_backend_that_reads_a_known_format(name: str) -> None:
    assert backends.load(name).FORMAT in formats.names()
    assert Device(name="any", runtime=name).runtime == name


def test_a_name_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=", ".join(backends.names())):
        backends.load("abacus")


def test_a_runtime_is_imported_only_when_it_is_used(name: str) -> None:
    script = (
        "import sys, numpy, platformdirs, importlib; before = set(sys.modules)\n"
        f"importlib.import_module('profilers.backends.{name.replace('-', '_')}')\n"
        "added = {module.partition('.')[0] for module in set(sys.modules) - before}\n"
        "print(*sorted(added - sys.stdlib_module_names - {'profilers'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_it_says_what_it_is_and_on_what_it_runs(backend: Backend, name: str) -> None:
    assert backend.version() == backend.version().strip() != ""
    assert backend.machine() == backend.machine().strip() != ""
    assert fingerprint(Device(name="any", runtime=name)) == fingerprint(Device(name="other", runtime=name))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_session_runs_every_operation_and_returns_milliseconds(backend: Backend, name: str, batch: int) -> None:
    device = Device(name="any", runtime=name, batch=batch)
    for graph in (everything(batch), sentinel_graph(batch)):
        session = backend.load(formats.write(graph, backend.FORMAT).content, device)
        times = [session() for _ in range(5)]
        assert all(isinstance(ms, float) and 0 < ms < math.inf for ms in times)


def test_what_a_session_returns_is_no_more_than_the_call_took(backend: Backend, name: str) -> None:
    if backend.machine() == "fake":
        pytest.skip("a fake device takes no time")
    graph = everything(1)
    session = backend.load(formats.write(graph, backend.FORMAT).content, Device(name="any", runtime=name))
    for _ in range(5):
        start = time.perf_counter()
        ms = session()
        assert ms <= (time.perf_counter() - start) * 1e3  # microseconds would not fit


@pytest.mark.parametrize("content", [b"garbage", b"\x00" * 64], ids=["text", "zeros"])
def test_what_is_no_model_is_refused_as_a_device_error(backend: Backend, name: str, content: bytes) -> None:
    with pytest.raises(DeviceError) as refused:
        backend.load(content, Device(name="any", runtime=name))
    assert refused.value.exit_code == 4


def test_the_profiler_measures_with_it(backend: Backend, name: str) -> None:
    model = formats.write(everything(1), backend.FORMAT)
    with open_profiler(Device(name="any", runtime=name)) as profiler:
        rounds = list(profiler.measure({"a": model, "b": model}, Plan(target_pct=1e-9, max_rounds=2, warmup_runs=1)))
    assert [set(found.visits) for found in rounds] == [{"a", "b"}] * 2
