"""What the ONNX writer makes of an operation computes what torch computes, in the operations torch would export."""

import io
import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from profilers.formats import HSWISH_FORMS, PRECISIONS, Form, write
from profilers.graph import Array, Graph, Value
from profilers.local import sentinel_graph

Builder = Callable[[Graph], Value]


def run(graph: Graph, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(write(graph, "onnx").content, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(["output"], {"input": x})
    return y


def exported_op_types(module: nn.Module, shape: tuple[int, ...]) -> Counter[str]:
    """Operations in what torch's own exporter writes; constants are data, which we keep in initializers."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (torch.zeros(shape),), file, dynamo=False, opset_version=17)
    nodes = onnx.load_from_string(file.getvalue()).graph.node
    return Counter(node.op_type for node in nodes if node.op_type != "Constant")


def op_types(graph: Graph) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(write(graph, "onnx").content).graph.node)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 2),
    hw=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 6]),
    multiple=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_convolution_computes_what_torch_computes(
    batch: int, hw: tuple[int, int], kernel: int, stride: int, groups: int, multiple: int, seed: int
) -> None:
    x, weight = normal(batch, 6, *hw, seed=seed), normal(6 * multiple, 6 // groups, kernel, kernel, seed=seed + 1)
    bias = normal(6 * multiple, seed=seed + 2)
    graph = Graph(x.shape)
    graph.finish(graph.conv(graph.input, weight, bias, stride=stride, groups=groups))
    expected = F.conv2d(*map(torch.from_numpy, (x, weight, bias)), stride, kernel // 2, groups=groups)
    assert np.abs(run(graph, x) - expected.numpy()).max() <= 1e-4


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1, 1)])
def test_a_linear_map_computes_what_torch_computes(shape: tuple[int, ...]) -> None:
    module, x = nn.Linear(5, 7), normal(*shape)
    graph = Graph(shape)
    weight, bias = (parameter.detach().numpy() for parameter in (module.weight, module.bias))
    graph.finish(graph.linear(graph.input, weight, bias))
    expected = module(torch.from_numpy(x).flatten(1)).detach().numpy()
    assert np.abs(run(graph, x) - expected).max() <= 1e-4
    flat = nn.Sequential(nn.Flatten(1), module) if len(shape) == 4 else module
    assert op_types(graph) == exported_op_types(flat, shape)


ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "hswish": nn.Hardswish(),
    "hsigmoid": nn.Hardsigmoid(),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_an_activation_computes_what_torch_computes_on_both_sides_of_every_bend(kind: str) -> None:
    x = np.concatenate([np.linspace(-9, 9, 361, dtype=np.float32), np.float32([-1e6, -3, 0, 3, 6, 1e6])])
    x = x.reshape(1, -1, 1, 1)
    graph = Graph(x.shape)
    graph.finish(graph.activation(graph.input, kind))
    expected = ACTIVATIONS[kind](torch.from_numpy(x)).numpy()
    assert np.allclose(run(graph, x), expected, rtol=1e-6, atol=1e-6)
    assert op_types(graph) == exported_op_types(ACTIVATIONS[kind], x.shape)


class Gated(nn.Module):
    """Two inputs for the operations that take two, made of one."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.adaptive_avg_pool2d(x, 1) + x


def test_pooling_gating_and_adding_compute_what_torch_computes() -> None:
    x = normal(2, 3, 5, 7)
    graph = Graph(x.shape)
    graph.finish(graph.add(graph.mul(graph.input, graph.pool(graph.input)), graph.input))
    assert np.abs(run(graph, x) - Gated()(torch.from_numpy(x)).numpy()).max() <= 1e-4
    assert op_types(graph) == exported_op_types(Gated(), x.shape)


def test_any_value_may_be_the_output() -> None:
    x = normal(1, 2, 3, 3)
    graph = Graph(x.shape)
    middle = graph.activation(graph.input, "relu")
    graph.activation(middle, "relu6")
    assert np.array_equal(run(graph.finish(middle), x), np.maximum(x, 0))


def test_the_file_is_float32_opset_17_with_one_input_and_one_output() -> None:
    graph = Graph((1, 2, 3, 3))
    graph.finish(graph.pool(graph.input))
    model = onnx.load_from_string(write(graph, "onnx").content)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert [put.name for put in (*model.graph.input, *model.graph.output)] == ["input", "output"]
    assert {put.type.tensor_type.elem_type for put in (*model.graph.input, *model.graph.output)} == {1}


@pytest.mark.parametrize("form", [Form(p, h) for p in PRECISIONS for h in HSWISH_FORMS], ids=str)
@pytest.mark.parametrize("inner", [False, True])
def test_files_pass_the_checker_that_comes_with_onnx(form: Form, inner: bool) -> None:
    content = write(sentinel_graph(2), "onnx", form, inner=inner).content
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
