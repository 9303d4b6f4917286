"""ONNX, written operation by operation with onnx.helper: 8 ms a block where torch's exporter takes 1.2 s.

Opset 17 is the lowest that onnxruntime builds of recent years all read and the first with every operation
used here as one node. Input and output are named `input` and `output`, and are float32 but for inner int8 graphs.

int8 is QDQ: every tensor goes through a QuantizeLinear and a DequantizeLinear, which runtimes join with the operation
between them into one integer kernel. Activations are u8 (s8 ones are up to ten times slower in ONNX Runtime on x86),
weights s8 with a scale for each output channel. Where kernels add products in pairs, weights have seven of their eight
bits: on an x86 CPU without VNNI a pair's sum is cut off at 16 bits, in ONNX Runtime and in OpenVINO.
onnxruntime.quantization.quantize_static(reduce_range=True) writes the same, at 0.2 s a block and 6 s a network; tests
compare the two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from profilers.formats import BYTE_STEPS, Ranges, least_weight_scales, scale_of
from profilers.graph import Graph, Operation, Step, Value

RUNTIME = "onnxruntime"
OPSET = 17
IR_VERSION = 8  # what opset 17 was released with
PAIRED_WEIGHT_LIMIT = 64  # 2 products of it with a u8 activation, 2 · 255 · 64, are within 16 bits; 65 are not
WEIGHT_LIMIT = 127
OP_TYPES = {
    "add": "Add",
    "mul": "Mul",
    "pool": "GlobalAveragePool",
    "relu": "Relu",
    "hswish": "HardSwish",
    "hsigmoid": "HardSigmoid",
}
PREDICT = '''def logits_of(path, image):
    """What the model makes of one image (C, H, W)."""
    try:
        import onnxruntime
    except ImportError:
        fail("onnxruntime is not installed here: pip install onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = np.repeat(image[None], session.get_inputs()[0].shape[0], axis=0)
    return session.run(None, {"input": images})[0][0]
'''


def write(graph: Graph, *, split_hswish: bool = False) -> bytes:
    """Serialise `graph` as a float32 ONNX model."""
    return _Float(graph, split_hswish).serialise([graph.output])


def write_observed(graph: Graph) -> bytes:
    """Serialise `graph` in float32 with the results of all its operations as outputs, in order."""
    return _Float(graph, False).serialise([operation.output for operation in graph.operations])


def write_int8(graph: Graph, ranges: Ranges, *, split_hswish: bool, inner: bool) -> bytes:
    """Serialise `graph` as an int8 ONNX model in QDQ form."""
    return _Int8(graph, ranges, split_hswish, inner).serialise([graph.output])


class _Float:
    """Writes a graph as float32 nodes and initializers."""

    def __init__(self, graph: Graph, split_hswish: bool) -> None:
        self.graph, self.split_hswish = graph, split_hswish
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.names = {operation.output.index: f"t{operation.output.index}" for operation in graph.operations}
        self.names |= {graph.input.index: "input", graph.output.index: "output"}

    def serialise(self, outputs: Sequence[Value]) -> bytes:
        """The finished file."""
        self.write_nodes()
        proto = helper.make_graph(
            self.nodes, "hwnas", [self.info(self.graph.input)], [self.info(value) for value in outputs],
            self.initializers,
        )  # fmt: skip
        model = helper.make_model(
            proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="hwnas"
        )
        return bytes(model.SerializeToString())

    def write_nodes(self) -> None:
        """Append a node, or a few, for each operation."""
        for operation in self.graph.operations:
            name = self.names[operation.output.index]
            for role, array in (("weight", operation.weight), ("bias", operation.bias)):
                if array is not None:
                    self.constant(f"{name}.{role}", array)
            self.operation(operation, [self.names[value.index] for value in operation.inputs], name)

    def operation(self, operation: Operation, inputs: list[str], name: str) -> None:
        """Append the nodes of one operation, whose weight and bias are called `name.weight` and `name.bias`."""
        match operation.kind:
            case "conv":
                assert operation.weight is not None
                kernel = operation.weight.shape[2]
                self.node(
                    "Conv", [*inputs, f"{name}.weight", f"{name}.bias"], name, kernel_shape=[kernel] * 2,
                    strides=[operation.stride] * 2, pads=[kernel // 2] * 4, dilations=[1, 1], group=operation.groups,
                )  # fmt: skip
            case "linear":
                flat = self.flatten(inputs[0], name) if len(operation.inputs[0].shape) == 4 else inputs[0]
                self.node("Gemm", [flat, f"{name}.weight", f"{name}.bias"], name, transB=1)
            case "relu6":
                self.clip(inputs[0], name)
            case "hsigmoid":
                self.node("HardSigmoid", inputs, name, alpha=1 / 6, beta=0.5)
            case "hswish" if self.split_hswish:
                three, sixth = self.constant(f"{name}.three", 3.0), self.constant(f"{name}.sixth", 1 / 6)
                clipped = self.clip(self.node("Add", [*inputs, three], f"{name}.shifted"), f"{name}.relu6")
                self.node("Mul", [*inputs, self.node("Mul", [clipped, sixth], f"{name}.gate")], name)
            case kind:
                self.node(OP_TYPES[kind], inputs, name)

    def flatten(self, x: str, name: str) -> str:
        """Append a flattening of (B, C, 1, 1) to (B, C) for the operation `name`."""
        return self.node("Flatten", [x], f"{name}.flat")

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Append a node; returns the name of its output."""
        self.nodes.append(helper.make_node(op_type, inputs, [output], output, **attributes))
        return output

    def clip(self, x: str, name: str) -> str:
        """Append a ReLU6."""
        return self.node("Clip", [x, self.constant(f"{name}.min", 0.0), self.constant(f"{name}.max", 6.0)], name)

    def constant(self, name: str, value: Any) -> str:
        """Append an initializer, an array or a number; Python's numbers become float32."""
        array = np.asarray(value, np.float32 if isinstance(value, float) else None)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def info(self, value: Value) -> onnx.ValueInfoProto:
        """Name, element type and shape of an input or output."""
        return helper.make_tensor_value_info(self.names[value.index], TensorProto.FLOAT, list(value.shape))


class _Int8(_Float):
    """Writes a graph in QDQ form: operations read dequantized tensors, and what they make is quantized at once."""

    def __init__(self, graph: Graph, ranges: Ranges, split_hswish: bool, inner: bool) -> None:
        super().__init__(graph, split_hswish)
        self.ranges, self.inner = ranges, inner
        self.scales: dict[str, float] = {}  # of dequantized tensors
        self.read: dict[int, str] = {}  # the dequantized tensor of each value

    def info(self, value: Value) -> onnx.ValueInfoProto:
        """An inner graph takes and gives 8-bit tensors."""
        elements = TensorProto.UINT8 if self.inner else TensorProto.FLOAT
        return helper.make_tensor_value_info(self.names[value.index], elements, list(value.shape))

    def write_nodes(self) -> None:
        """Append each step between conversions."""
        given = self.graph.input
        self.read[given.index] = self.requantize("input", "input.read", self.ranges[given.index])
        for step in self.graph.steps():
            self.read[step.output.index] = self.step(step)
        read = {"output", *(name for node in self.nodes for name in node.input)}
        self.nodes = [node for node in self.nodes if node.output[0] in read]  # a Flatten goes around what it flattens

    def step(self, step: Step) -> str:
        """Append an operation and the activation joined to it; returns its dequantized result.

        A ReLU needs no node: the range of its output begins at zero (and ends at six), and quantizing saturates.
        """
        operation, act, name = step.operation, step.act, self.names[step.output.index]
        x, *others = (self.read[value.index] for value in operation.inputs)
        if operation.kind in ("hswish", "hsigmoid"):
            act = operation.kind
        else:
            if operation.weight is not None:
                self.weights(operation, x, f"{name}.raw", shift=3.0 if act == "hsigmoid" else 0.0)
            self.operation(operation, [x, *others], f"{name}.raw")
            x = f"{name}.raw"
        if act == "hsigmoid":
            return self.sixth_of_relu6(x if operation.weight is not None else self.plus_three(x, name), name)
        if act == "hswish":
            if operation.kind != "hswish":
                x = self.requantize(x, f"{name}.inner", self.ranges[operation.output.index])
            if self.split_hswish:
                gate = self.sixth_of_relu6(self.plus_three(x, name), f"{name}.gate")
                x = self.node("Mul", [x, gate], f"{name}.act")
            else:
                x = self.node("HardSwish", [x], f"{name}.act")
        return self.requantize(x, name, self.ranges[step.output.index])

    def flatten(self, x: str, name: str) -> str:
        """A Gemm that is to be an integer kernel must read a dequantized tensor, so flattening comes before that."""
        source = next(node for node in self.nodes if node.output[0] == x)  # the DequantizeLinear
        flat = self.node("Flatten", [source.input[0]], f"{name}.flat.quantized")
        self.scales[f"{name}.flat"] = self.scales[x]
        return self.node("DequantizeLinear", [flat, *source.input[1:]], f"{name}.flat")

    def plus_three(self, x: str, name: str) -> str:
        """Append x + 3 as a float tensor."""
        three = self.constant(f"{name}.three.quantized", np.array(255, np.uint8))
        scale, zero = self.constant(f"{name}.three.scale", 3 / 255), self.constant(f"{name}.three.zero", np.uint8(0))
        return self.node(
            "Add", [x, self.node("DequantizeLinear", [three, scale, zero], f"{name}.three")], f"{name}.shifted"
        )

    def sixth_of_relu6(self, x: str, name: str) -> str:
        """Quantize x to 0 … 6, which clips it, and read it on a scale of 0 … 1: a ReLU6 and a division for nothing."""
        return self.requantize(x, name, (0.0, 6.0), read_as=1.0)

    def requantize(self, x: str, name: str, ends: tuple[float, float], read_as: float = 0.0) -> str:
        """Quantize float `x` to u8 between `ends`; returns the dequantized tensor, called `name`.

        With `read_as`, what was quantized as 0 … `ends[1]` is dequantized as 0 … `read_as`.
        """
        scale = scale_of(ends)
        zero = self.constant(f"{name}.zero", np.uint8(round(-ends[0] / scale)))
        written = self.constant(f"{name}.scale", scale)
        quantized = "input" if self.inner and x == "input" else f"{name}.quantized"
        if self.inner and name == "output":
            return self.node("QuantizeLinear", [x, written, zero], "output")
        if quantized != "input":
            self.node("QuantizeLinear", [x, written, zero], quantized)
        if read_as:
            scale = read_as / BYTE_STEPS
            written = self.constant(f"{name}.read_scale", scale)
        self.scales[name] = scale
        return self.node("DequantizeLinear", [quantized, written, zero], name)

    def weights(self, operation: Operation, x: str, name: str, shift: float) -> None:
        """Append weight and bias of an operation on `x`; `shift` is added to the bias."""
        assert operation.weight is not None and operation.bias is not None
        shifted = operation.bias.astype(np.float64) + shift
        largest = np.abs(operation.weight).reshape(len(operation.weight), -1).max(axis=1)
        limit = np.float32(_weight_limit(operation))
        scales = np.maximum(largest / limit, least_weight_scales(shifted, self.scales[x]))
        scales[scales < 1e-30] = 1  # no weights and no bias either
        per_channel = scales.reshape(-1, *[1] * (operation.weight.ndim - 1))
        bias_scales = scales * np.float32(self.scales[x])
        bias = np.round(shifted / bias_scales)
        for role, values, scale in (
            ("weight", np.round(operation.weight / per_channel).astype(np.int8), scales),
            ("bias", bias.astype(np.int32), bias_scales),
        ):
            quantized = self.constant(f"{name}.{role}.quantized", values)
            zeros = self.constant(f"{name}.{role}.zero", np.zeros(len(values), values.dtype))
            scale_name = self.constant(f"{name}.{role}.scale", scale)
            self.node("DequantizeLinear", [quantized, scale_name, zeros], f"{name}.{role}", axis=0)


def _weight_limit(operation: Operation) -> int:
    """The largest 8-bit weight: depthwise kernels widen products before they add them, and can have all."""
    assert operation.weight is not None
    out_chs, group_chs = operation.weight.shape[:2]
    depthwise = operation.groups == out_chs > 1 and group_chs == 1
    return WEIGHT_LIMIT if depthwise else PAIRED_WEIGHT_LIMIT
