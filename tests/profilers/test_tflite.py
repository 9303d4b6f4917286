"""What the TFLite writer makes of an operation computes what torch computes, in operations that XNNPACK runs whole."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.spaces import open_space
from lut.blocks import Block, Conv, MBConv, chain
from lut.layers import random_weights
from profilers.formats import Form, write
from profilers.graph import Activation, Array, Graph

TorchValues = Callable[[Graph, Array], dict[int, Array]]
FUSED, SPLIT, INT8, INT8_FUSED = Form(), Form("fp32", "split"), Form("int8", "split"), Form("int8", "fused")
KINDS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
ACTIVATIONS = {value: name for name, value in vars(schema.ActivationFunctionType).items() if isinstance(value, int)}


def opened(content: bytes) -> Interpreter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def run(graph: Graph, x: Array, form: Form = FUSED) -> Array:
    """The output with channels first, of a file that takes and gives them last."""
    interpreter = opened(write(graph, "tflite", form).content)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], np.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x))
    interpreter.invoke()
    y = interpreter.get_tensor(made["index"])
    return y.transpose(0, 3, 1, 2) if y.ndim == 4 else y


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 2),
    hw=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 6]),
    multiple=st.integers(1, 2),
    act=st.sampled_from([None, "relu", "relu6", "hswish", "hsigmoid"]),
    form=st.sampled_from([FUSED, SPLIT]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_convolution_computes_what_torch_computes(
    torch_values: TorchValues,
    batch: int,
    hw: tuple[int, int],
    kernel: int,
    stride: int,
    groups: int,
    multiple: int,
    act: Activation | None,
    form: Form,
    seed: int,
) -> None:
    x, weight = normal(batch, 6, *hw, seed=seed), normal(6 * multiple, 6 // groups, kernel, kernel, seed=seed + 1)
    graph = Graph(x.shape)
    y = graph.conv(graph.input, weight, normal(6 * multiple, seed=seed + 2), stride=stride, groups=groups)
    graph.finish(y if act is None else graph.activation(y, act))
    assert np.abs(run(graph, x, form) - torch_values(graph, x)[graph.output.index]).max() <= 1e-4


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1, 1)])
def test_a_linear_map_computes_what_torch_computes(torch_values: TorchValues, shape: tuple[int, ...]) -> None:
    x, graph = normal(*shape), Graph(shape)
    graph.finish(graph.linear(graph.input, normal(7, 5, seed=1), normal(7, seed=2)))
    assert np.abs(run(graph, x) - torch_values(graph, x)[graph.output.index]).max() <= 1e-4
    assert operators(graph) == ["FULLY_CONNECTED"]


@pytest.mark.parametrize("form", [FUSED, SPLIT], ids=lambda form: form.hswish)
@pytest.mark.parametrize("kind", ["relu", "relu6", "hswish", "hsigmoid"])
def test_an_activation_computes_what_torch_computes_on_both_sides_of_every_bend(
    torch_values: TorchValues, kind: Activation, form: Form
) -> None:
    x = np.concatenate([np.linspace(-9, 9, 361, dtype=np.float32), np.float32([-1e6, -3, 0, 3, 6, 1e6])])
    x = x.reshape(1, -1, 1, 1)
    graph = Graph(x.shape)
    graph.finish(graph.activation(graph.input, kind))
    expected = torch_values(graph, x)[graph.output.index]
    assert np.allclose(run(graph, x, form), expected, rtol=1e-6, atol=1e-6)


def test_pooling_gating_and_adding_compute_what_torch_computes(torch_values: TorchValues) -> None:
    x = normal(2, 3, 5, 7)
    graph = Graph(x.shape)
    graph.finish(graph.add(graph.mul(graph.input, graph.pool(graph.input)), graph.input))
    assert np.abs(run(graph, x) - torch_values(graph, x)[graph.output.index]).max() <= 1e-4
    assert operators(graph) == ["MEAN", "MUL", "ADD"]


def test_any_value_may_be_the_output() -> None:
    x = normal(1, 2, 3, 3)
    graph = Graph(x.shape)
    middle = graph.activation(graph.input, "relu")
    graph.activation(middle, "relu6")
    assert np.array_equal(run(graph.finish(middle), x), np.maximum(x, 0))


@pytest.mark.parametrize("form", [FUSED, SPLIT, INT8, INT8_FUSED], ids=lambda form: f"{form.precision}-{form.hswish}")
def test_the_file_has_one_signature_one_input_and_one_output_with_channels_last(form: Form) -> None:
    graph = Graph((2, 3, 5, 7))
    graph.finish(graph.conv(graph.input, normal(4, 3, 3, 3), normal(4)))
    content = write(graph, "tflite", form).content
    assert content[4:8] == b"TFL3"
    interpreter = opened(content)
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["input"], "outputs": ["output"]}}
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (given["shape"].tolist(), made["shape"].tolist()) == ([2, 5, 7, 3], [2, 5, 7, 4])
    assert given["dtype"] == made["dtype"] == {"fp32": np.float32, "int8": np.int8}[form.precision]


def operators(graph: Graph, form: Form = FUSED) -> list[str]:
    """What the file says, with the activations that are fused, before any delegate reads it."""
    model = schema.ModelT.InitFromPackedBuf(write(graph, "tflite", form).content, 0)
    (part,) = model.subgraphs
    found = []
    for operator in part.operators:
        act = ACTIVATIONS[getattr(operator.builtinOptions, "fusedActivationFunction", 0)]
        kind = KINDS[model.operatorCodes[operator.opcodeIndex].builtinCode]
        found.append(kind if act == "NONE" else f"{kind}+{act}")
    return found


def graph_of(block: Block) -> Graph:
    return chain([(block, random_weights(np.random.default_rng(0)))])


HSWISH = {"fused": ["HARD_SWISH"], "split": ["ADD+RELU6", "MUL", "MUL"]}
GATE = ["MEAN", "CONV_2D+RELU", "CONV_2D+RELU6", "MUL", "MUL"]  # the first MUL is by 1/6, the second the gate's
EXPECTED = {
    MBConv(16, 16, 8, 48, 3, 1, False, "relu"): ["CONV_2D+RELU", "DEPTHWISE_CONV_2D+RELU", "CONV_2D", "ADD"],
    MBConv(16, 24, 8, 48, 5, 1, False, "relu6"): ["CONV_2D+RELU6", "DEPTHWISE_CONV_2D+RELU6", "CONV_2D"],
    MBConv(16, 24, 8, 16, 3, 1, True, "relu"): ["DEPTHWISE_CONV_2D+RELU", *GATE, "CONV_2D"],
    MBConv(16, 16, 8, 48, 7, 1, True, "hswish"): [
        "CONV_2D", "hswish", "DEPTHWISE_CONV_2D", "hswish", *GATE, "CONV_2D", "ADD",
    ],
    Conv(3, 8, 8, 1, 2, "hsigmoid"): ["CONV_2D+RELU6", "MUL"],
}  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("hswish", HSWISH)
@pytest.mark.parametrize("block", EXPECTED, ids=lambda block: block.key)
def test_a_block_is_its_operations_with_activations_fused_and_nothing_transposed(
    block: Block, hswish: str, precision: str
) -> None:
    expected = [name for kind in EXPECTED[block] for name in (HSWISH[hswish] if kind == "hswish" else [kind])]
    assert operators(graph_of(block), Form(precision, hswish)) == expected


@given(
    hw=st.tuples(st.integers(1, 20), st.integers(1, 20)), kernel=st.sampled_from([1, 3, 5, 7]), stride=st.integers(1, 3)
)
@settings(max_examples=60, deadline=None)
def test_only_where_the_format_would_pad_one_side_more_than_the_other_padding_is_an_operation(
    hw: tuple[int, int], kernel: int, stride: int
) -> None:
    graph = Graph((1, 2, *hw))
    y = graph.conv(graph.input, normal(2, 1, kernel, kernel), normal(2), stride=stride, groups=2)
    graph.finish(y)
    # What SAME padding adds in all, as TensorFlow defines it; torch pads K // 2 on both sides.
    same = [max((out - 1) * stride + kernel - size, 0) for out, size in zip(y.shape[2:], hw, strict=True)]
    padded = ["PAD"] * any(total != kernel // 2 * 2 for total in same)
    assert operators(graph) == [*padded, "DEPTHWISE_CONV_2D"]


VOCABULARY = open_space("ofa-mbv3", resolutions=(64,)).vocabulary
BLOCKS = [*VOCABULARY[:2], *VOCABULARY[5:-4:12], *VOCABULARY[-4:]]  # stem, first, some stages' blocks, the head


def partitions(content: bytes) -> list[tuple[list[int], list[int]]]:
    """Inputs that are no constants, and outputs, of each part of a file that XNNPACK runs in one go."""
    interpreter = opened(content)
    used = {int(index) for op in interpreter._get_ops_details() for index in op["outputs"]}
    used |= {put["index"] for put in interpreter.get_input_details()}
    delegates = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
    return [([int(i) for i in op["inputs"] if i in used], [int(i) for i in op["outputs"]]) for op in delegates]


def is_run_whole(content: bytes) -> bool:
    """Whether one partition takes the file's input and gives its output."""
    interpreter = opened(content)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    return partitions(content) == [([given["index"]], [made["index"]])]


def test_blocks_of_all_kinds_and_with_all_parts_are_tested_here() -> None:
    assert {block.kind for block in BLOCKS} == {block.kind for block in VOCABULARY}
    mbconvs = [block for block in BLOCKS if isinstance(block, MBConv)]
    for name in ("kernel", "stride", "se", "act"):
        searched = {getattr(block, name) for block in VOCABULARY if isinstance(block, MBConv)}
        assert {getattr(block, name) for block in mbconvs} == searched, name


@pytest.mark.parametrize("form", [FUSED, SPLIT, INT8], ids=lambda form: f"{form.precision}-{form.hswish}")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.key)
def test_xnnpack_runs_a_block_in_one_partition(block: Block, form: Form) -> None:
    assert is_run_whole(write(graph_of(block), "tflite", form).content)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.key)
def test_an_int8_hswish_in_one_operation_breaks_the_partition(block: Block) -> None:
    """Which is why int8 files have it split."""
    graph = graph_of(block)
    content = write(graph, "tflite", INT8_FUSED).content
    has_hswish = any(op.kind == "hswish" for op in graph.operations)
    assert is_run_whole(content) == (not has_hswish)
    if has_hswish and isinstance(block, MBConv):
        assert len(partitions(content)) > 1
