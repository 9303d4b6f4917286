"""A graph refuses what does not fit together, and knows the shapes and the memory of what does."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from profilers.graph import Activation, Graph, Value

ACTIVATIONS = get_args(Activation)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@given(
    batch=st.integers(1, 3),
    hw=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.integers(1, 3),
)
def test_a_convolution_has_the_shape_that_torch_gives_it(
    batch: int, hw: tuple[int, int], kernel: int, stride: int
) -> None:
    graph = Graph((batch, 2, *hw))
    y = graph.conv(graph.input, zeros(4, 2, kernel, kernel), zeros(4), stride=stride)
    assert y.shape == nn.Conv2d(2, 4, kernel, stride, kernel // 2)(torch.zeros(batch, 2, *hw)).shape


@pytest.mark.parametrize(
    ("weight", "bias", "groups"),
    [
        (zeros(4, 3, 3, 3), zeros(4), 1),  # three input channels where there are two
        (zeros(4, 2, 3, 3), zeros(3), 1),  # a bias too short
        (zeros(4, 2, 3, 5), zeros(4), 1),  # no square kernel
        (zeros(4, 2, 2, 2), zeros(4), 1),  # an even kernel
        (zeros(2, 2, 3, 3), zeros(2), 2),  # a dense weight for a depthwise convolution
    ],
)
def test_a_convolution_whose_weights_do_not_fit_is_refused(weight: np.ndarray, bias: np.ndarray, groups: int) -> None:
    graph = Graph((1, 2, 8, 8))
    with pytest.raises(ValueError, match=r"conv of \(1, 2, 8, 8\)"):
        graph.conv(graph.input, weight, bias, groups=groups)
    assert graph.operations == []


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_a_linear_map_takes_a_pooled_or_a_flat_input(shape: tuple[int, ...]) -> None:
    graph = Graph(shape)
    assert graph.linear(graph.input, zeros(5, 3), zeros(5)).shape == (1, 5)


@pytest.mark.parametrize(
    ("shape", "weight", "bias"),
    [((1, 3, 2, 2), (5, 3), (5,)), ((1, 4), (5, 3), (5,)), ((1, 3), (5, 3), (3,))],
)
def test_a_linear_map_that_does_not_fit_is_refused(
    shape: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...]
) -> None:
    graph = Graph(shape)
    with pytest.raises(ValueError, match="linear map"):
        graph.linear(graph.input, zeros(*weight), zeros(*bias))


def test_only_equal_shapes_are_added_and_only_gates_multiplied() -> None:
    graph = Graph((1, 2, 4, 4))
    pooled = graph.pool(graph.input)
    with pytest.raises(ValueError, match="sum"):
        graph.add(graph.input, pooled)
    with pytest.raises(ValueError, match="gate"):
        graph.mul(graph.input, graph.input)
    with pytest.raises(ValueError, match="gate"):
        graph.mul(graph.input, Value(9, (1, 3, 1, 1)))
    assert graph.mul(graph.input, pooled).shape == (1, 2, 4, 4)


def test_a_chain_needs_the_two_largest_neighbours_at_once() -> None:
    graph = Graph((1, 1, 4, 4))  # 16 elements
    y = graph.conv(graph.input, zeros(3, 1, 1, 1), zeros(3))  # 48
    y = graph.conv(y, zeros(2, 3, 1, 1), zeros(2))  # 32, beside the 48
    y = graph.pool(y)  # 2, beside the 32
    assert graph.finish(y).peak_activation_bytes() == (48 + 32) * 4
    assert graph.peak_activation_bytes(bytes_per_element=1) == 48 + 32


def test_a_residual_keeps_its_input_alive() -> None:
    graph = Graph((1, 1, 4, 4))  # 16 elements, needed until the sum
    y = graph.conv(graph.input, zeros(3, 1, 1, 1), zeros(3))  # 48
    y = graph.activation(y, "relu")  # 48
    y = graph.conv(y, zeros(1, 3, 1, 1), zeros(1))  # 16
    assert graph.finish(graph.add(graph.input, y)).peak_activation_bytes() == (16 + 48 + 48) * 4


def test_a_value_that_nobody_reads_takes_no_memory_later() -> None:
    graph = Graph((1, 1, 4, 4))
    graph.conv(graph.input, zeros(10, 1, 1, 1), zeros(10))  # 160 elements, read by nobody
    y = graph.conv(graph.input, zeros(2, 1, 1, 1), zeros(2))  # 32
    assert graph.finish(y).peak_activation_bytes() == (16 + 160) * 4


def test_the_output_stays_alive_until_the_end() -> None:
    graph = Graph((1, 1, 4, 4))
    kept = graph.conv(graph.input, zeros(4, 1, 1, 1), zeros(4))  # 64 elements, the output
    graph.activation(graph.activation(kept, "relu"), "relu")  # 64 and 64, beside it
    assert graph.finish(kept).peak_activation_bytes() == 3 * 64 * 4


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Operations on whatever came before, read once, often or never; the last value or another is the output."""
    graph = Graph((1, 2, 4, 4))
    values = [graph.input]
    for _ in range(draw(st.integers(0, 12))):
        x = draw(st.sampled_from(values))
        match draw(st.sampled_from(["conv", "pool", "add", "mul", *ACTIVATIONS])):
            case "conv":
                y = graph.conv(x, zeros(2, 2, 3, 3), zeros(2))
            case "pool":
                y = graph.pool(x)
            case "add":
                y = graph.add(x, draw(st.sampled_from([value for value in values if value.shape == x.shape])))
            case "mul":
                y = graph.mul(x, graph.pool(x))
            case act:
                y = graph.activation(x, act)
        values.append(y)
    return graph.finish(draw(st.sampled_from(values)))


@given(graph=graphs())
def test_steps_hold_every_operation_once_and_an_activation_with_what_only_it_reads(graph: Graph) -> None:
    made_by = {op.output.index: op for op in graph.operations}
    read = [graph.output.index, *(value.index for op in graph.operations for value in op.inputs)]

    def joins(kind: str, value: Value) -> bool:
        source = made_by.get(value.index)
        return kind in ACTIVATIONS and source is not None and source.kind not in ACTIVATIONS and read.count(
            value.index
        ) == 1  # fmt: skip

    joined = [op for op in graph.operations if joins(op.kind, op.inputs[0])]
    found = graph.steps()
    assert [step.operation for step in found] == [op for op in graph.operations if op not in joined]
    for step in found:
        act = made_by[step.output.index]
        assert (act is step.operation) == (step.act is None)
        assert step.act is None or (act in joined and act.kind == step.act and act.inputs == (step.operation.output,))
    assert sum(step.act is not None for step in found) == len(joined)


@given(graph=graphs())
def test_steps_read_the_input_and_what_steps_before_them_made(graph: Graph) -> None:
    there = {graph.input.index}
    for step in graph.steps():
        assert {value.index for value in step.operation.inputs} <= there
        there.add(step.output.index)
    assert graph.output.index in there
