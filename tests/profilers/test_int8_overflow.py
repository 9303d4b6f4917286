"""int8 ONNX files give the same numbers on every x86 CPU, also on one whose kernels add pairs of products in 16 bits.

That is what AVX2 and AVX-512 without VNNI have: VPMADDUBSW multiplies unsigned by signed bytes, adds two neighbouring
products, and saturates. These tests emulate it, so that they find on any CPU what only some CPUs would show.
"""

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lut.blocks import Conv, Linear, MBConv, Pool, chain
from lut.layers import random_weights
from profilers import backends
from profilers.formats import HSWISH_FORMS, Form, write
from profilers.graph import Array, Graph, Value

Integers = NDArray[np.int64]
RUNTIMES = [name for name in backends.names() if "int8" in backends.load(name).PRECISIONS]


def saturating(pairs: Integers) -> Integers:
    """What VPMADDUBSW makes of pairs of products, (..., 2)."""
    return pairs.sum(axis=-1).clip(-(2**15), 2**15 - 1)


def pairs_of_products(activations: Integers, weights: Integers) -> Integers:
    """Products of neighbours, (outputs, inputs / 2, 2); an odd one has nothing beside it."""
    products = activations * weights
    return np.pad(products, ((0, 0), (0, products.shape[1] % 2))).reshape(len(products), -1, 2)


def is_cut_off(weights: Integers) -> bool:
    """Whether some pair is, for the worst activations and whichever weights a kernel lays side by side."""
    for signed in (weights.clip(min=0), weights.clip(max=0)):  # an activation is 0 where it would make a sum smaller
        largest_first = np.take_along_axis(signed, np.argsort(-np.abs(signed), axis=1), axis=1)
        pairs = pairs_of_products(np.full_like(signed, 255), largest_first)
        if (saturating(pairs) != pairs.sum(axis=-1)).any():
            return True
    return False


def written_weights(content: bytes) -> Iterator[tuple[int, Integers]]:
    """Of each convolution and linear layer its groups, and its weights in steps, (outputs, inputs)."""
    graph = onnx.load_from_string(content).graph
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    made_from = {node.output[0]: node.input[0] for node in graph.node}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weights = arrays[made_from[node.input[1]]]
            assert weights.dtype == np.int8
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            yield groups, weights.reshape(len(weights), -1).astype(np.int64)


def net() -> Graph:
    blocks = [
        Conv(1, 8, 24, 3, 2, "hswish"),
        MBConv(8, 8, 12, 24, 3, 1, False, "relu"),
        MBConv(8, 16, 12, 48, 5, 2, True, "hswish"),
        Pool(16, 16, 6),
        Linear(16, 10, 1),
    ]
    return chain([(block, random_weights(np.random.default_rng(0))) for block in blocks])


def test_eight_bits_are_one_too_many_for_a_pair_and_seven_are_not() -> None:
    """What is emulated is what happens: the limit is 64."""
    assert (
        is_cut_off(np.array([[127, 2]])) and is_cut_off(np.array([[65, 3, 64]])) and is_cut_off(np.array([[-65, -64]]))
    )
    assert not is_cut_off(np.array([[64, 64, 64], [-64, -64, 64]])) and not is_cut_off(np.array([[127, -127]]))


@pytest.mark.parametrize("hswish", HSWISH_FORMS)
def test_no_pair_of_products_is_cut_off_in_any_operation(operation: Callable[..., Graph], hswish: str) -> None:
    for groups, weights in written_weights(write(operation(), "onnx", Form("int8", hswish)).content):
        assert groups > 1 or not is_cut_off(weights)


@pytest.mark.parametrize("hswish", HSWISH_FORMS)
def test_in_a_net_dense_weights_have_all_of_seven_bits_and_depthwise_ones_all_of_eight(hswish: str) -> None:
    found = list(written_weights(write(net(), "onnx", Form("int8", hswish)).content))
    assert len(found) == 10
    for groups, weights in found:
        assert (np.abs(weights).max(axis=1) == (64 if groups == 1 else 127)).all()
        assert groups > 1 or not is_cut_off(weights)


def emit(kind: str, graph: Graph, sign: float) -> Value:
    """An operation whose weights are all at their largest, so that nothing is more easily cut off."""
    chs = graph.input.shape[1]
    shapes = {
        "dense": (8, chs, 3, 3), "pointwise": (8, chs, 1, 1), "linear": (8, chs), "depthwise": (chs, 1, 3, 3),
        "grouped": (chs, 2, 3, 3), "multiplied": (2 * chs, 1, 3, 3),
    }  # fmt: skip
    weight = np.full(shapes[kind], sign, np.float32)
    bias = np.zeros(len(weight), np.float32)
    if kind == "linear":
        return graph.linear(graph.input, weight, bias)
    return graph.conv(graph.input, weight, bias, groups=graph.input.shape[1] // weight.shape[1])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("chs", [4, 24, 33])
@pytest.mark.parametrize("kind", ["dense", "pointwise", "linear", "depthwise", "grouped", "multiplied"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_largest_sums_come_out_whole_on_this_cpu(runtime: str, kind: str, chs: int, sign: float) -> None:
    """Weights and activations at their largest; what is cut off comes out as half of it where there is no VNNI."""
    if kind == "grouped" and chs % 2:
        chs += 1
    graph = Graph((1, chs, 1, 1) if kind == "linear" else (1, chs, 9, 9))
    graph.finish(emit(kind, graph, sign))
    images: Array = np.ones((1, *graph.input.shape[1:]), np.float32)
    backend = backends.load(runtime)
    whole, found = (
        backend.compute(write(graph, backend.FORMAT, Form(precision, "split"), images=images).content, images)
        for precision in ("fp32", "int8")
    )
    assert np.abs(found - whole).max() <= np.abs(whole).max() / 255
