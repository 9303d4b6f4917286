"""ONNX, written operation by operation with onnx.helper: 8 ms a block where torch's exporter takes 1.2 s.

Opset 17 is the lowest that onnxruntime builds of recent years all read and the first with every operation
used here as one node. Input and output are float32 and named `input` and `output`.
"""

from collections.abc import Iterator

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from profilers.graph import Graph, Operation, Value

OPSET = 17
IR_VERSION = 8  # what opset 17 was released with
OP_TYPES = {
    "add": "Add",
    "mul": "Mul",
    "pool": "GlobalAveragePool",
    "relu": "Relu",
    "hswish": "HardSwish",
    "hsigmoid": "HardSigmoid",
}


def write(graph: Graph) -> bytes:
    """Serialise `graph` as an ONNX model."""
    names = {graph.input.index: "input", graph.output.index: "output"}
    for operation in graph.operations:
        names.setdefault(operation.output.index, f"t{operation.output.index}")
    nodes: list[NodeProto] = []
    initializers: list[TensorProto] = []
    for operation in graph.operations:
        name = names[operation.output.index]
        for role, array in (("weight", operation.weight), ("bias", operation.bias)):
            if array is not None:
                initializers.append(numpy_helper.from_array(array, f"{name}.{role}"))
        if operation.kind == "relu6":
            initializers.extend(helper.make_tensor(f"{name}.{end}", TensorProto.FLOAT, [], [value])
                                for end, value in (("min", 0.0), ("max", 6.0)))  # fmt: skip
        nodes.extend(_nodes(operation, [names[value.index] for value in operation.inputs], name))
    proto = helper.make_graph(
        nodes, "hwnas", [_info("input", graph.input)], [_info("output", graph.output)], initializers
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="hwnas"
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _nodes(operation: Operation, inputs: list[str], name: str) -> Iterator[NodeProto]:
    match operation.kind:
        case "conv":
            assert operation.weight is not None
            kernel = operation.weight.shape[2]
            yield helper.make_node(
                "Conv", [*inputs, f"{name}.weight", f"{name}.bias"], [name], name,
                kernel_shape=[kernel] * 2, strides=[operation.stride] * 2, pads=[kernel // 2] * 4,
                dilations=[1, 1], group=operation.groups,
            )  # fmt: skip
        case "linear":
            if len(operation.inputs[0].shape) == 4:
                yield helper.make_node("Flatten", inputs, [f"{name}.flat"], f"{name}.flat")
                inputs = [f"{name}.flat"]
            yield helper.make_node("Gemm", [*inputs, f"{name}.weight", f"{name}.bias"], [name], name, transB=1)
        case "relu6":
            yield helper.make_node("Clip", [*inputs, f"{name}.min", f"{name}.max"], [name], name)
        case "hsigmoid":
            yield helper.make_node("HardSigmoid", inputs, [name], name, alpha=1 / 6, beta=0.5)
        case kind:
            yield helper.make_node(OP_TYPES[kind], inputs, [name], name)


def _info(name: str, value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape))
