"""Our int8 ONNX files hold what onnxruntime's own quantizer writes, and run in as many integer kernels or more."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from lut.blocks import Block, Conv, Linear, MBConv, Pool, chain
from lut.layers import random_weights
from profilers.formats import Form, write
from profilers.graph import Array, Graph

IMAGES = 4


class Reader(CalibrationDataReader):
    """Images one by one."""

    def __init__(self, images: Array) -> None:
        self.left = iter(np.split(images, len(images)))

    def get_next(self) -> dict[str, Array] | None:
        image = next(self.left, None)
        return None if image is None else {"input": image}


def graph_and_images(*blocks: Block) -> tuple[Graph, Array]:
    graph = chain([(block, random_weights(np.random.default_rng(0))) for block in blocks])
    return graph, np.random.default_rng(1).standard_normal((IMAGES, *graph.input.shape[1:]), dtype=np.float32)


def their_int8(graph: Graph, images: Array, hswish: str, folder: Path, reduce_range: bool = True) -> bytes:
    given, made = folder / "float.onnx", folder / "int8.onnx"
    given.write_bytes(write(graph, "onnx", Form("fp32", hswish)).content)
    quantize_static(
        given, made, Reader(images), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
        reduce_range=reduce_range,
    )  # fmt: skip
    return made.read_bytes()


def kernels(content: bytes, folder: Path) -> Counter[str]:
    """What onnxruntime runs after its own fusions."""
    options, path = onnxruntime.SessionOptions(), folder / "optimized.onnx"
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def initializers(content: bytes) -> dict[str, np.ndarray]:
    return {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load_from_string(content).graph.initializer}


def ours_and_theirs(blocks: tuple[Block, ...], hswish: str, folder: Path) -> tuple[Graph, bytes, bytes]:
    graph, images = graph_and_images(*blocks)
    ours = write(graph, "onnx", Form("int8", hswish), images=images).content
    return graph, ours, their_int8(graph, images, hswish, folder)


PLAIN = [
    (MBConv(16, 16, 8, 48, 3, 1, False, "relu"),),
    (MBConv(16, 24, 8, 48, 5, 2, False, "relu6"),),
    (Conv(3, 8, 9, 3, 2, "relu"), MBConv(8, 8, 5, 24, 3, 1, False, "relu"), Pool(8, 8, 5), Linear(8, 4, 1)),
]


@pytest.mark.parametrize("blocks", PLAIN, ids=lambda blocks: "+".join(block.kind for block in blocks))
def test_without_hswish_and_gates_the_kernels_are_the_same(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    _, ours, theirs = ours_and_theirs(blocks, "fused", tmp_path)
    found = kernels(ours, tmp_path)
    assert found == kernels(theirs, tmp_path)
    # All of them integer ones but for the conversions at both ends.
    assert all(name.startswith(("Q", "DequantizeLinear", "Flatten")) for name in found)
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1


@pytest.mark.parametrize("blocks", PLAIN, ids=lambda blocks: "+".join(block.kind for block in blocks))
def test_weights_and_their_scales_are_the_same(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """As with their seven bits, which are for CPUs without VNNI; ours has all eight where no kernel needs that."""
    graph, images = graph_and_images(*blocks)
    ours = initializers(write(graph, "onnx", Form("int8"), images=images).content)
    seven, eight = (initializers(their_int8(graph, images, "fused", tmp_path, reduced)) for reduced in (True, False))
    names = {value.index: f"t{value.index}" for op in graph.operations for value in (op.output,)}
    names[graph.output.index] = "output"
    compared = 0
    for step in graph.steps():
        if step.operation.weight is not None:
            theirs = eight if step.operation.groups > 1 else seven
            mine, other = f"{names[step.output.index]}.raw.weight", f"{names[step.operation.output.index]}.weight"
            assert np.array_equal(ours[f"{mine}.quantized"], theirs[f"{other}_quantized"])
            assert np.allclose(ours[f"{mine}.scale"], theirs[f"{other}_scale"], rtol=1e-6, atol=0)
            compared += 1
    assert compared == sum(len(block.layers) for block in blocks)


@pytest.mark.parametrize("blocks", PLAIN, ids=lambda blocks: "+".join(block.kind for block in blocks))
def test_scales_and_zeros_of_activations_are_the_same(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    graph, *contents = ours_and_theirs(blocks, "fused", tmp_path)
    ours, theirs = map(initializers, contents)
    for step in graph.steps():
        name = "output" if step.output.index == graph.output.index else f"t{step.output.index}"
        assert ours[f"{name}.scale"] == pytest.approx(theirs[f"{name}_scale"], rel=1e-6)
        assert ours[f"{name}.zero"] == theirs[f"{name}_zero_point"]
    assert ours["input.read.scale"] == pytest.approx(theirs["input_scale"], rel=1e-6)
    assert ours["input.read.zero"] == theirs["input_zero_point"]


@pytest.mark.parametrize("act", ["relu", "hswish"])
@pytest.mark.parametrize("hswish", ["fused", "split"])
def test_gates_and_hswish_take_no_kernel_that_theirs_does_not_and_fewer_in_all(
    act: str, hswish: str, tmp_path: Path
) -> None:
    block = MBConv(16, 16, 8, 48, 3, 1, True, act)
    graph, *contents = ours_and_theirs((block,), hswish, tmp_path)
    ours, theirs = (kernels(content, tmp_path) for content in contents)
    kinds = Counter(op.kind for op in graph.operations)
    # A gate's hard sigmoid is float in theirs; ours is the rounding of the convolution before it, for nothing.
    saved = Counter(dict.fromkeys(("HardSigmoid", "QuantizeLinear", "DequantizeLinear"), kinds["hsigmoid"]))
    if hswish == "split" and kinds["hswish"]:
        saved["QLinearMul"] = kinds["hswish"]  # the product with 1/6 is another way to read the same bytes
    assert theirs - ours == saved and not ours - theirs
    float_kernels = {name for name in ours if not name.startswith(("QLinear", "QuantizeLinear", "DequantizeLinear"))}
    assert float_kernels == ({"HardSigmoid", "Mul"} if hswish == "fused" and kinds["hswish"] else set())
