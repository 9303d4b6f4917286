"""Model files of the user's own: what can be measured is, with fixed shapes; what cannot is refused, and why."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from profilers import backends
from profilers.backends import example
from profilers.device import Device
from profilers.errors import DeviceError, InvalidInputError
from profilers.file_timing import percentiles_ms, time_files
from profilers.footprint import footprint
from profilers.formats import write
from profilers.local import sentinel_graph
from profilers.measurement import PLANS
from profilers.model_files import check_taken, read_model
from profilers.profiler import open_profiler

Shape = Sequence[int | str | None]
FLOAT = TensorProto.FLOAT


def convolution(path: Path, shape: Shape, out: Shape = ("N", 8, 16, 16), chs: int = 8) -> Path:
    weight = numpy_helper.from_array(np.ones((chs, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    return save(path, [node], {"x": (FLOAT, shape)}, (FLOAT, out), [weight])


def save(
    path: Path, nodes: list[onnx.NodeProto], inputs: Mapping[str, tuple[int, Shape]], out: tuple[int, Shape],
    weights: Sequence[onnx.TensorProto] = (),
) -> Path:  # fmt: skip
    given = [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in inputs.items()]
    made = helper.make_tensor_value_info("y", out[0], list(out[1]))
    graph = helper.make_graph(nodes, "graph", given, [made], list(weights))
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    return path


def many_kinds(path: Path) -> Path:
    """Ids, a mask, half precision and double, as language models take them; a Gather refuses ids that it lacks."""
    names = {"ids": TensorProto.INT64, "mask": TensorProto.BOOL, "half": TensorProto.FLOAT16, "more": TensorProto.INT32}
    nodes = [helper.make_node("Gather", ["e", "ids"], ["a0"])]
    for number, name in enumerate(("mask", "half", "more")):
        nodes.append(helper.make_node("Cast", [name], [f"{name}.f"], to=FLOAT))
        nodes.append(helper.make_node("Add", [f"a{number}", f"{name}.f"], [f"a{number + 1}" if number < 2 else "y"]))
    table = numpy_helper.from_array(np.ones((2, 8), np.float32), "e")
    shapes = {name: (kind, ("b", 4) if name == "ids" else ("b", 4, 8)) for name, kind in names.items()}
    return save(path, nodes, shapes, (FLOAT, ("b", 4, 8)), [table])


@pytest.mark.parametrize("batch", ["N", None, 2])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_open_batch_becomes_one_and_a_fixed_one_stays(tmp_path, batch, runtime):
    model = read_model(convolution(tmp_path / "net.onnx", (batch, 3, 16, 16), (batch, 8, 16, 16)))
    (given,) = onnx.load_from_string(model.content).graph.input
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim] == [batch if batch == 2 else 1, 3, 16, 16]
    try:
        run = backends.load(runtime).load(model.content, Device(name="here", runtime=runtime))
    except DeviceError as error:
        pytest.skip(str(error))
    assert run() > 0


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_any_number_of_inputs_of_any_kind_is_given_something(tmp_path, runtime):
    model = read_model(many_kinds(tmp_path / "net.onnx"))
    try:
        backends.load(runtime).version()
    except DeviceError as error:
        pytest.skip(str(error))
    assert backends.load(runtime).load(model.content, Device(name="here", runtime=runtime))() > 0


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "u1", "i4", "i8", "u8", "?"])
def test_examples_are_of_their_kind_and_always_the_same(kind):
    first, again = (example((2, 3, 64), kind, np.random.default_rng(0)) for _ in range(2))
    assert first.dtype == np.dtype(kind) and first.shape == (2, 3, 64) and np.array_equal(first, again)
    if first.dtype.kind in "iu" and first.itemsize > 1:
        assert set(first.ravel().tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("shape", "told"),
    [(("N", 3, "H", "W"), "Nx3xHxW"), (("N", 3, None, 16), "Nx3x?x16"), ((0, 3, 16, 16), "0x3x16x16")],
)
def test_sizes_that_are_open_are_refused_by_name(tmp_path, shape, told):
    with pytest.raises(
        InvalidInputError, match=rf"the shape of input 'x' is {told}.*export the model".replace("?", r"\?")
    ):
        read_model(convolution(tmp_path / "net.onnx", shape))


def test_weights_in_files_beside_it_are_refused(tmp_path):
    model = onnx.load(convolution(tmp_path / "net.onnx", (1, 3, 16, 16)))
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(InvalidInputError, match="keeps its weights in files beside it"):
        read_model(tmp_path / "out.onnx")


@pytest.mark.parametrize("name", ["net.onnx", "net.tflite", "net.ONNX"])
@pytest.mark.parametrize("content", [b"", b"\0\0", b"{}", b"PK\3\4" * 50, bytes(range(256))])
def test_what_is_no_model_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"is no (ONNX|TFLite) model, or damaged"):
        read_model(tmp_path / name)


def test_what_is_no_file_of_these_is_refused(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "net.pt").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.onnx")
    for name, told in (
        ("net.pt", "must end in"),
        ("folder.onnx", "no file"),
        ("no.onnx", "not there"),
        ("pipe.onnx", "no file"),
    ):
        with pytest.raises(InvalidInputError, match=told):
            read_model(tmp_path / name)


def test_a_file_of_another_format_names_the_runtimes_that_take_it(tmp_path):
    model = read_model(convolution(tmp_path / "net.onnx", (1, 3, 16, 16)))
    with pytest.raises(
        InvalidInputError, match="is a onnx file, and litert takes tflite: give --runtime onnxruntime or"
    ):
        check_taken(tmp_path / "net.onnx", model, "litert")
    check_taken(tmp_path / "net.onnx", model, "onnxruntime")


def test_files_are_compared_in_the_same_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr("profilers.footprint.TIMES", 1)
    paths = [convolution(tmp_path / f"{chs}.onnx", (1, 3, 16, 16), (1, chs, 16, 16), chs) for chs in (8, 16, 80)]
    models = {path.stem: read_model(path) for path in paths}
    with open_profiler(Device(name="toy", runtime="fake")) as profiler:
        found = time_files(models, profiler, PLANS["quick"])
    assert list(found) == ["8", "16", "80"] and found["8"].ratio is None
    costs = {name: 0.02 + 0.002 + int(name) * 27 * 256 / 10e6 for name in found}
    for name, timing in found.items():
        assert timing.measurement.latency_ms == pytest.approx(costs[name], rel=0.01)
        assert len(timing.all_ms) >= 50 and len(timing.undisturbed_ms) <= len(timing.all_ms)
        if timing.ratio:
            low, high = timing.ratio.interval_ms
            assert low < timing.ratio.latency_ms < high
            assert timing.ratio.latency_ms == pytest.approx(costs[name] / costs["8"], rel=0.01)


def test_percentiles_are_those_of_all_repetitions():
    assert percentiles_ms([float(n) for n in range(101)]) == {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0}
    assert percentiles_ms([]) == {}


def test_a_footprint_is_taken_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("profilers.footprint.TIMES", 1)
    small = footprint(read_model(convolution(tmp_path / "s.onnx", (1, 3, 16, 16))), Device(name="host"))
    large = footprint(
        read_model(convolution(tmp_path / "l.onnx", (1, 3, 512, 512), (1, 64, 512, 512), 64)), Device(name="host")
    )
    assert small.load_ms > 0
    if small.peak_memory_bytes is not None:
        assert large.peak_memory_bytes - small.peak_memory_bytes > 50e6  # an output of 67 MB


SAYS = """
import os, sys
from profilers.backends import without_chatter
with without_chatter():
    os.write(2, b"INFO: Created delegate\\nW: mind this\\n")
os.write(2, b"after\\n")
"""


def test_chatter_of_runtimes_is_dropped_and_what_else_they_say_is_kept():
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    assert done.stderr == "W: mind this\nafter\n"


LOADS = """
import sys
from profilers import backends
from profilers.device import Device
from profilers.formats import Form, write
from profilers.local import sentinel_graph
for precision in ("fp32", "int8"):
    model = write(sentinel_graph(1), sys.argv[2], Form(precision, "split"))
    backends.load(sys.argv[1]).load(model.content, Device(name="here", runtime=sys.argv[1]))()
"""


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime", "openvino"])
def test_runtimes_say_nothing_of_themselves(runtime):
    try:
        backends.load(runtime).version()
        write(sentinel_graph(1), backends.load(runtime).FORMAT)
    except DeviceError as error:
        pytest.skip(str(error))
    words = [sys.executable, "-c", LOADS, runtime, backends.load(runtime).FORMAT]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "INFO" not in done.stderr + done.stdout
