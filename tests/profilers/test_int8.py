"""int8 files stay as close to float32 as eight bits allow, whichever format and runtime they are for."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lut.blocks import Conv, Linear, MBConv, Pool, chain
from lut.layers import random_weights
from profilers import backends
from profilers.formats import HSWISH_FORMS, Form, write
from profilers.graph import Array, Graph, Operation
from profilers.ranges import activation_ranges

TorchValues = Callable[[Graph, Array], dict[int, Array]]
RUNTIMES = [name for name in backends.names() if "int8" in backends.load(name).PRECISIONS]
FORMS = [Form("int8", hswish) for hswish in HSWISH_FORMS]


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=FORMS, ids=lambda form: form.hswish)
def form(request: pytest.FixtureRequest) -> Form:
    return request.param


def compute(graph: Graph, runtime: str, form: Form, images: Array) -> Array:
    """What a runtime makes of images that the scales of its file were made from."""
    backend = backends.load(runtime)
    return backend.compute(write(graph, backend.FORMAT, form, images=images).content, images)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def on_the_grid(graph: Graph, seed: int) -> Array:
    """Images that eight bits hold exactly: from -100 to 155 steps of 1/16, both ends among them."""
    steps = np.random.default_rng(seed).integers(-100, 156, (4, *graph.input.shape[1:]))
    steps.flat[:2] = -100, 155
    return np.float32(steps / 16)


def on_the_weights_grid(graph: Graph, format: str) -> Graph:
    """The same graph with weights that its int8 file holds exactly; those given have 127 steps as their largest."""
    for place, op in enumerate(graph.operations):
        if op.weight is not None and format == "onnx" and not depthwise(op):
            graph.operations[place] = replace(op, weight=np.float32(np.round(op.weight * 128 * 64 / 127) / 64))
    return graph


def depthwise(op: Operation) -> bool:
    """The only grouped convolutions of these tests."""
    return op.groups > 1


def step_of(values: Array) -> float:
    return (max(0.0, values.max()) - min(0.0, values.min())) / 255


SLOPES = {"relu": 1.0, "relu6": 1.0, "hswish": 1.5, "hsigmoid": 1 / 6}  # at their steepest


def most_rounding(graph: Graph, values: dict[int, Array], form: Form) -> float:
    """The largest error if weights and images are exact: a step a rounding, carried on by the operations behind it.

    Half of a step is rounded away, and half may be cut off at the ends, because zero is rounded to a step, too.
    """
    errors = {graph.input.index: 0.0}
    for step in graph.steps():
        op = step.operation
        kind, (error, *more), x = op.kind, [errors[value.index] for value in op.inputs], values[op.inputs[0].index]
        if kind in ("conv", "linear"):
            error *= np.abs(op.weight).reshape(len(op.weight), -1).sum(axis=1).max()
        elif kind == "add":
            error += more[0]
        elif kind == "mul":
            error = error * np.abs(values[op.inputs[1].index]).max() + more[0] * np.abs(x).max()
        act = step.act or (kind if kind in SLOPES else None)
        if step.act in ("hswish", "hsigmoid") or (step.act and kind == "pool"):  # the rest is clipped and rounded once
            error += step_of(values[op.output.index])
        error *= SLOPES.get(act, 1.0)
        if act == "hswish" and form.hswish == "split":  # its gate, 0 … 1, is rounded as well
            error += np.abs(values[op.output.index if step.act else op.inputs[0].index]).max() / 255
        errors[step.output.index] = error + step_of(values[step.output.index])
    return errors[graph.output.index]


@pytest.mark.parametrize("seed", range(2))
def test_an_operation_on_exact_numbers_is_off_by_its_roundings_and_no_more(
    runtime: str, form: Form, operation: Callable[..., Graph], torch_values: TorchValues, seed: int
) -> None:
    graph = on_the_weights_grid(operation(), backends.load(runtime).FORMAT)
    images = on_the_grid(graph, seed)
    values = torch_values(graph, images)
    error = np.abs(compute(graph, runtime, form, images) - values[graph.output.index]).max()
    assert error <= 1.0001 * most_rounding(graph, values, form)


def small_net(seed: int = 0, batch: int = 1) -> Graph:
    blocks = [
        Conv(3, 8, 24, 3, 2, "hswish"),
        MBConv(8, 8, 12, 8, 3, 1, False, "relu"),
        MBConv(8, 16, 12, 48, 5, 2, True, "relu6"),
        MBConv(16, 16, 6, 64, 7, 1, True, "hswish"),
        Conv(16, 64, 6, 1, 1, "hswish"),
        Pool(64, 64, 6),
        Conv(64, 48, 1, 1, 1, "hswish", norm=False),
        Linear(48, 10, 1),
    ]
    rng = np.random.default_rng(seed)
    return chain([(block, random_weights(rng)) for block in blocks], batch)


@pytest.mark.parametrize("seed", range(3))
def test_a_net_in_int8_gives_nearly_the_same_logits(
    runtime: str, form: Form, torch_values: TorchValues, seed: int
) -> None:
    graph, images = small_net(seed), normal(32, 3, 24, 24, seed=seed)
    y, expected = compute(graph, runtime, form, images), torch_values(graph, images)[graph.output.index]
    assert np.corrcoef(y.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.abs(y - expected).max() <= 6 * step_of(expected)


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 2), batches=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_ranges_are_the_least_and_greatest_values_and_hold_zero(
    torch_values: TorchValues, batch: int, batches: int, seed: int
) -> None:
    graph, images = small_net(seed, batch), normal(batch * batches, 3, 24, 24, seed=seed)
    ranges, values = activation_ranges(graph, images), torch_values(graph, images)
    assert ranges.keys() == values.keys()
    for index, (low, high) in ranges.items():
        assert low <= 0 <= high
        expected = min(0.0, values[index].min()), max(0.0, values[index].max())
        assert np.allclose((low, high), expected, rtol=1e-5, atol=1e-5)


def onnx_types(content: bytes) -> list[int]:
    graph = onnx.load_from_string(content).graph
    return [put.type.tensor_type.elem_type for put in (*graph.input, *graph.output)]


def constant(content: bytes, name: str) -> np.ndarray:
    return next(
        onnx.numpy_helper.to_array(i) for i in onnx.load_from_string(content).graph.initializer if i.name == name
    )


def test_only_an_inner_onnx_graph_takes_and_gives_bytes(operation: Callable[..., Graph], form: Form) -> None:
    graph = operation()
    assert onnx_types(write(graph, "onnx", form).content) == [onnx.TensorProto.FLOAT] * 2
    assert onnx_types(write(graph, "onnx", form, inner=True).content) == [onnx.TensorProto.UINT8] * 2
    assert (
        onnx_types(write(graph, "onnx", Form("fp32", form.hswish), inner=True).content) == [onnx.TensorProto.FLOAT] * 2
    )


def test_a_tflite_graph_is_inner_as_it_is(operation: Callable[..., Graph], form: Form) -> None:
    assert write(operation(), "tflite", form) == write(operation(), "tflite", form, inner=True)


def test_an_inner_graph_computes_the_same_numbers(operation: Callable[..., Graph], form: Form) -> None:
    graph = operation()
    images = on_the_grid(graph, seed=0)
    whole, inner = (write(graph, "onnx", form, images=images, inner=inner).content for inner in (False, True))
    scale, zero = constant(inner, "input.read.scale"), constant(inner, "input.read.zero")
    session = onnxruntime.InferenceSession(inner, providers=["CPUExecutionProvider"])
    taken = np.clip(np.round(images[:1] / scale) + zero, 0, 255).astype(np.uint8)
    (given,) = session.run(None, {"input": taken})
    scale, zero = constant(inner, "output.scale"), constant(inner, "output.zero")
    read_as = 1 / 6 if graph.operations[-1].kind == "hsigmoid" else 1  # quantized as 0 … 6, which is read as 0 … 1
    expected = backends.load("onnxruntime").compute(whole, images[:1])
    assert np.allclose((given.astype(np.float32) - zero) * scale * read_as, expected, rtol=1e-5, atol=1e-6)


def scales(content: bytes) -> dict[str, float]:
    return {
        i.name: float(onnx.numpy_helper.to_array(i))
        for i in onnx.load_from_string(content).graph.initializer
        if i.name.endswith(".scale") and not i.dims
    }


def test_scales_are_made_from_the_images_that_are_given() -> None:
    graph, images = small_net(), normal(4, 3, 24, 24)
    found = scales(write(graph, "onnx", FORMS[1], images=images).content)
    assert found["input.read.scale"] == pytest.approx(step_of(images))
    brighter = scales(write(graph, "onnx", FORMS[1], images=2 * images).content)
    assert brighter["input.read.scale"] == pytest.approx(2 * found["input.read.scale"])
    assert found.keys() == brighter.keys() and found["output.scale"] != brighter["output.scale"]


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_other_images_make_another_file_and_the_same_ones_the_same(format: str, form: Form) -> None:
    images, others = normal(4, 3, 24, 24), normal(4, 3, 24, 24, seed=1)
    first, again, other = (write(small_net(), format, form, images=given) for given in (images, images.copy(), others))
    assert first == again != other
    assert write(small_net(), format, form) == write(small_net(), format, form)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("weights", [0.0, 1e-42, 1e-30, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5])
def test_a_channel_that_training_has_switched_off_keeps_its_bias(runtime: str, weights: float, linear: bool) -> None:
    """Batch norm folded into it leaves next to no weights, on whose scale a bias would not fit its 32 bits."""
    bias = np.float32([0.5, -2, 0, 1])
    weight = np.float32([1, weights, weights, weights]).reshape(4, 1, 1, 1) * normal(4, 4, 3, 3)
    graph = Graph((1, 4, 1, 1) if linear else (1, 4, 9, 9))
    x = graph.input
    graph.finish(graph.linear(x, weight[:, :, 1, 1], bias) if linear else graph.conv(x, weight, bias))
    y = compute(graph, runtime, FORMS[1], normal(1, *graph.input.shape[1:]))
    assert np.abs(y[:, 1:].reshape(3, -1) - bias[1:, None]).max() <= step_of(y)


def test_a_gate_that_training_has_switched_off_keeps_its_bias(runtime: str, torch_values: TorchValues) -> None:
    graph, bias = Graph((1, 4, 9, 9)), np.float32([-2, 0, 1, 2])
    graph.finish(graph.activation(graph.conv(graph.input, np.zeros((4, 4, 1, 1), np.float32), bias), "hsigmoid"))
    images = normal(1, 4, 9, 9)
    error = compute(graph, runtime, FORMS[1], images) - torch_values(graph, images)[graph.output.index]
    assert np.abs(error).max() <= 1 / 255


@pytest.mark.parametrize("act", ["relu", "relu6", "hswish", "hsigmoid"])
@pytest.mark.parametrize("linear", [False, True])
def test_what_is_zero_for_every_image_stays_zero(runtime: str, form: Form, act: str, linear: bool) -> None:
    """A scale cannot be made from a range of no width; 1 is as good as any."""
    graph, bias = Graph((1, 4, 9, 9)), np.full(4, -1000, np.float32)
    x = graph.linear(graph.pool(graph.input), normal(4, 4), bias) if linear else None
    x = x or graph.conv(graph.input, normal(4, 4, 3, 3), bias)
    graph.finish(graph.activation(x, act))
    assert not compute(graph, runtime, form, normal(2, 4, 9, 9)).any()


def test_images_that_are_all_zero_give_the_bias(runtime: str, form: Form) -> None:
    graph, weight, bias = Graph((1, 4, 9, 9)), normal(4, 4, 3, 3), np.float32([-1, 0, 0.5, 2])
    graph.finish(graph.conv(graph.input, weight, bias))
    y = compute(graph, runtime, form, np.zeros((1, 4, 9, 9), np.float32))
    # A bias is counted in steps of the weight times those of the input, which are 1 here.
    assert np.abs(y - bias.reshape(1, 4, 1, 1)).max() <= np.abs(weight).max() / 64 / 2 + step_of(y)
