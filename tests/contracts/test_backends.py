"""Every file in profilers/backends is a Backend: found by name, honest about its runtime, lazy, in milliseconds."""

import math
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from profilers import backends, formats
from profilers.backends import Backend
from profilers.device import Device, fingerprint
from profilers.errors import DeviceError, UnknownNameError
from profilers.formats import HSWISH_FORMS, PRECISIONS, Form
from profilers.graph import Array, Graph
from profilers.local import sentinel_graph
from profilers.measurement import Plan
from profilers.profiler import open_profiler

TorchValues = Callable[[Graph, Array], dict[int, Array]]
EVERYWHERE = [(name, precision) for name in backends.names() for precision in backends.load(name).PRECISIONS]


@pytest.fixture(params=backends.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def installed(name: str) -> Backend:
    """A backend whose runtime is installed here."""
    found = backends.load(name)
    try:
        found.version()
    except DeviceError as error:
        pytest.skip(f"runtime {name} cannot be used here: {error}")
    return found


@pytest.fixture
def backend(name: str) -> Backend:
    return installed(name)


@pytest.fixture(params=EVERYWHERE, ids="-".join)
def device(request: pytest.FixtureRequest) -> Device:
    """Every runtime that can be used here, in every precision it has."""
    runtime, precision = request.param
    installed(runtime)
    return Device(name="any", runtime=runtime, precision=precision)


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


def images(graph: Graph, count: int) -> Array:
    return np.random.default_rng(count).standard_normal((count, *graph.input.shape[1:]), dtype=np.float32)


def test_the_name_loads_a_backend_that_reads_a_known_format(name: str) -> None:
    found = backends.load(name)
    assert found.FORMAT in formats.names() and "fp32" in found.PRECISIONS
    assert set(found.PRECISIONS) <= set(PRECISIONS)
    assert Device(name="any", runtime=name).runtime == name


def test_a_name_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=", ".join(name for name in backends.names() if name != "fake")):
        backends.load("abacus")


@pytest.mark.parametrize("precision", [*PRECISIONS, "fp8"])
def test_a_device_has_the_precisions_of_its_runtime_and_no_others(name: str, precision: str) -> None:
    known = backends.load(name).PRECISIONS
    if precision in known:
        assert Device(name="any", runtime=name, precision=precision).form.precision == precision
        return
    with pytest.raises(UnknownNameError, match=f"unknown precision of runtime {name} '{precision}'") as refused:
        Device(name="any", runtime=name, precision=precision)
    assert str(refused.value).endswith(f"there is {', '.join(sorted(known))}")


def test_a_runtime_is_imported_only_when_it_is_used(name: str) -> None:
    # What every backend imports comes first; it may hold no runtime either.
    script = (
        "import sys, importlib, profilers.backends, profilers.device\n"
        "def roots(): return {module.partition('.')[0] for module in sys.modules}\n"
        "before = roots(); print(*sorted(before))\n"
        f"importlib.import_module('profilers.backends.{name.replace('-', '_')}')\n"
        "print(*sorted(roots() - before - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    before, added = (set(line.split()) for line in done.stdout.split("\n")[:2])
    assert added == set()
    assert "numpy" in before
    assert not before & {"onnx", "onnxruntime", "ai_edge_litert", "tflite_runtime", "openvino", "torch"}


def test_it_says_what_it_is_and_on_what_it_runs(backend: Backend, name: str) -> None:
    assert backend.version() == backend.version().strip() != ""
    assert backend.machine() == backend.machine().strip() != ""
    assert fingerprint(Device(name="any", runtime=name)) == fingerprint(Device(name="other", runtime=name))


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("hswish", HSWISH_FORMS)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_session_runs_every_operation_and_returns_milliseconds(
    device: Device, batch: int, hswish: str, inner: bool
) -> None:
    backend, form = backends.load(device.runtime), Form(device.precision, hswish)
    for graph in (everything(batch), sentinel_graph(batch)):
        session = backend.load(formats.write(graph, backend.FORMAT, form, inner=inner).content, device)
        times = [session() for _ in range(5)]
        assert all(isinstance(ms, float) and 0 < ms < math.inf for ms in times)


def test_a_session_by_the_process_s_clock_returns_milliseconds_too(backend: Backend, name: str) -> None:
    content = formats.write(everything(1), backend.FORMAT).content
    device = Device(name="any", runtime=name, clock="cpu")
    if name == "torch-cuda":
        with pytest.raises(DeviceError, match="remove clock = 'cpu'"):
            backend.load(content, device)
        return
    assert 0 < backend.load(content, device)() < math.inf


def test_a_signal_after_sessions_that_ended_in_any_order_is_only_a_signal(backend: Backend, name: str) -> None:
    # A runtime that changes the stack for signals and does not put it back kills the process at the next control-C.
    content = formats.write(everything(1), backend.FORMAT).content
    script = (
        "import gc, signal, sys\n"
        "from profilers import backends\n"
        "from profilers.device import Device\n"
        f"content, device = sys.stdin.buffer.read(), Device(name='any', runtime={name!r})\n"
        "sessions = [backends.load(device.runtime).load(content, device) for _ in range(3)]\n"
        "while sessions:\n"
        "    sessions.pop(0)\n"
        "    gc.collect()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n"
        "signal.raise_signal(signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=content, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [b"heard"]), done.stderr


@pytest.mark.parametrize("hswish", HSWISH_FORMS)
def test_a_float32_file_computes_what_torch_computes_for_any_number_of_images(
    backend: Backend, hswish: str, operation: Callable[..., Graph], torch_values: TorchValues
) -> None:
    for batch, count in ((1, 1), (1, 3), (2, 1), (2, 2), (2, 5)):
        graph = operation(batch)
        x = images(graph, count)
        y = backend.compute(formats.write(graph, backend.FORMAT, Form("fp32", hswish)).content, x)
        expected = torch_values(graph, x)[graph.output.index]
        assert y.dtype == np.float32 and y.shape == expected.shape == (count, *graph.output.shape[1:])
        assert np.abs(y - expected).max() <= 1e-4


@pytest.mark.parametrize("batch", [1, 2])
def test_every_image_counts_whatever_batch_it_is_in(device: Device, batch: int, torch_values: TorchValues) -> None:
    backend, graph = backends.load(device.runtime), everything(batch)
    x = images(graph, 5)
    content = formats.write(graph, backend.FORMAT, device.form, images=images(graph, 6)).content
    y, expected = backend.compute(content, x), torch_values(graph, x)[graph.output.index]
    assert y.shape == expected.shape and y.dtype == np.float32
    rounding = 1e-4 if device.precision == "fp32" else np.ptp(expected) / 255
    for i in range(5):
        assert np.abs(backend.compute(content, x[i : i + 1]) - y[i : i + 1]).max() <= rounding
    assert np.corrcoef(y.ravel(), expected.ravel())[0, 1] > 0.99  # test_int8 says how near


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


def test_the_profiler_measures_with_it(device: Device) -> None:
    model = formats.write(everything(1), backends.load(device.runtime).FORMAT, device.form)
    with open_profiler(device) as profiler:
        rounds = list(profiler.measure({"a": model, "b": model}, Plan(target_pct=1e-9, max_rounds=2, warmup_runs=1)))
    assert [set(found.visits) for found in rounds] == [{"a", "b"}] * 2
