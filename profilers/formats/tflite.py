"""TFLite, written as a flatbuffer through the schema inside ai-edge-litert: 10 ms a block where converters take 6 s.

Tensors have channels last, and the graph's weights, OIHW as torch has them, become OHWI (1HWO where depthwise). The
operations are those that XNNPACK runs in one partition: ReLU and ReLU6 are fused, a hard sigmoid is a bias of 3, a
fused ReLU6 and a product with 1/6, and where padding of a stride would not be symmetric, as it is in torch, it is an
operation of its own. The signature is `serving_default` with `input` and `output`.

int8 is made of the float32 file by ai-edge-quantizer: s8 activations, s8 weights with a scale for each output channel.
"""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profilers.backends import without_chatter
from profilers.errors import DeviceError
from profilers.formats import BYTE_STEPS, Ranges, least_weight_scales, scale_of
from profilers.graph import Activation, Array, Graph, Operation, Step, Value

RUNTIME = "litert"
VERSION = 3  # of the schema
IDENTIFIER = b"TFL3"
Range = int | tuple[float, float]  # that of a value of the graph, by its index, or a known one
SIGNATURE = "serving_default"  # the quantizer looks for it
FUSED = {"conv": ("relu", "relu6", "hsigmoid"), **dict.fromkeys(("linear", "add", "mul"), ("relu", "relu6"))}
PREDICT = '''def logits_of(path, image):
    """What the model makes of one image (C, H, W)."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter  # as on older boards
        except ImportError:
            fail("LiteRT is not installed here: pip install ai-edge-litert")
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    images = np.repeat(image.transpose(1, 2, 0)[None], given["shape"][0], axis=0)  # channels last
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        images = np.clip(np.round(images / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    logits = interpreter.get_tensor(made["index"])[0].astype(np.float32)
    if made["dtype"] == np.int8:
        scale, zero = made["quantization"]
        logits = (logits - zero) * scale
    return logits
'''


def write(graph: Graph, *, split_hswish: bool = False) -> bytes:
    """Serialise `graph` as a float32 TFLite model."""
    return _Writer(graph, split_hswish).serialise()


def write_int8(graph: Graph, ranges: Ranges, *, split_hswish: bool, inner: bool) -> bytes:  # noqa: ARG001
    """Serialise `graph` as an int8 TFLite model; input and output are 8-bit tensors anyway, `inner` or not."""
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        raise DeviceError("int8 TFLite needs ai-edge-quantizer: pip install 'hwnas[litert]'") from error
    writer, found = _Writer(graph, split_hswish, ranges), {}
    content = bytearray(writer.serialise())
    for tensor, shape, known in zip(writer.tensors, writer.shapes, writer.ranges, strict=True):
        if known is not None:
            low, high = known if isinstance(known, tuple) else ranges[known]
            ends = {"min": low, "max": low + BYTE_STEPS * scale_of((low, high))}
            found[tensor.name] = {end: np.full([1] * len(shape), value, np.float32) for end, value in ends.items()}
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), without_chatter():  # it draws bars
        warnings.simplefilter("ignore")  # and opens an interpreter in a way that LiteRT warns of
        model = quantizer.Quantizer(content, recipe.static_wi8_ai8())
        quantized = model.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    return bytes(quantized.quantized_model)


class _Writer:
    """Collects tensors, buffers and operators of a graph."""

    def __init__(self, graph: Graph, split_hswish: bool, values: Ranges | None = None) -> None:
        self.graph, self.split_hswish = graph, split_hswish
        self.values = values  # ranges that int8 scales will be made from
        self.schema = _schema()
        self.buffers = [self.schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: dict[int, int] = {}
        self.at: dict[int, int] = {}  # the tensor of each value of the graph
        self.shapes: list[tuple[int, ...]] = []  # of each tensor
        self.ranges: list[Range | None] = []  # of each tensor but constants

    def serialise(self) -> bytes:
        """The finished file."""
        import flatbuffers

        self.at[self.graph.input.index] = self.value_tensor(self.graph.input)
        for step in self.graph.steps():
            self.at[step.output.index] = self.step(step)
        ends = {"input": self.at[self.graph.input.index], "output": self.at[self.graph.output.index]}
        part = self.schema.SubGraphT()
        part.tensors, part.operators, part.name = self.tensors, self.operators, "main"
        part.inputs, part.outputs = [ends["input"]], [ends["output"]]
        signature = self.schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = ([self._named(end, ends[end])] for end in ("input", "output"))
        model = self.schema.ModelT()
        model.version, model.description = VERSION, "hwnas"
        model.subgraphs, model.buffers, model.signatureDefs = [part], self.buffers, [signature]
        model.operatorCodes = [self._code(builtin) for builtin in self.codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def step(self, step: Step) -> int:
        """Append the operators of a step; returns the tensor of its output."""
        operation, act, output = step.operation, step.act, step.output
        if operation.kind in ("relu", "relu6", "hswish", "hsigmoid"):
            return self.activation(self.at[operation.inputs[0].index], operation.kind, output)
        if act and act not in FUSED.get(operation.kind, ()):
            raw = self.operation(operation, None, self.tensor(f"t{operation.output.index}", operation.output))
            return self.activation(raw, act, output)
        return self.operation(operation, act, self.value_tensor(output))

    def operation(self, operation: Operation, act: Activation | None, output: int) -> int:
        """Append one operation with the activation fused into it, giving the tensor `output`."""
        inputs = [self.at[value.index] for value in operation.inputs]
        name, schema = self.tensors[output].name, self.schema
        kinds = schema.ActivationFunctionType
        fused = {None: kinds.NONE, "relu": kinds.RELU, "relu6": kinds.RELU6, "hsigmoid": kinds.RELU6}[act]
        match operation.kind:
            case "conv":
                relu6 = self.like(output, f"{name}.relu6", (0.0, 6.0)) if act == "hsigmoid" else output
                self.conv(operation, inputs[0], relu6, fused, shift=3.0 if act == "hsigmoid" else 0.0)
                if act == "hsigmoid":
                    self.sixth(relu6, output)
            case "linear":
                assert operation.weight is not None and operation.bias is not None
                weight = self.with_room_for(operation.bias, operation.weight, operation.inputs[0])
                weights = [self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", operation.bias)]
                self.operator(
                    "FULLY_CONNECTED", [*inputs, *weights], output, "FullyConnected", fusedActivationFunction=fused
                )
            case "pool":
                axes = self.constant(f"{name}.axes", np.array([1, 2], np.int32))
                self.operator("MEAN", [*inputs, axes], output, "Reducer", keepDims=True)
            case "add" | "mul" as kind:
                self.operator(kind.upper(), inputs, output, kind.capitalize(), fusedActivationFunction=fused)
        return output

    def conv(self, operation: Operation, x: int, output: int, fused: int, shift: float) -> None:
        """Append a convolution, padded by an operator of its own where the format's padding would be lopsided."""
        stride, name = operation.stride, self.tensors[output].name
        assert operation.weight is not None and operation.bias is not None
        shifted = operation.bias + np.float32(shift)
        weight = self.with_room_for(shifted, operation.weight, operation.inputs[0])
        pad, padding = weight.shape[2] // 2, self.schema.Padding.SAME
        if pad and any((size - 1) % stride for size in operation.inputs[0].shape[2:]):
            batch, height, width, chs = self.shapes[x]
            padded = self._tensor(f"{name}.padded", (batch, height + 2 * pad, width + 2 * pad, chs), self.ranges[x])
            ends = self.constant(f"{name}.ends", np.array([[0, 0], [pad, pad], [pad, pad], [0, 0]], np.int32))
            self.operator("PAD", [x, ends], padded, "Pad")
            x, padding = padded, self.schema.Padding.VALID
        settings = {
            "padding": padding, "strideW": stride, "strideH": stride, "dilationWFactor": 1, "dilationHFactor": 1,
            "fusedActivationFunction": fused,
        }  # fmt: skip
        bias = self.constant(f"{name}.bias", shifted)
        if operation.groups > 1 and weight.shape[1] == 1:
            kernel = self.constant(f"{name}.weight", weight.transpose(1, 2, 3, 0))
            settings["depthMultiplier"] = len(weight) // operation.groups
            self.operator("DEPTHWISE_CONV_2D", [x, kernel, bias], output, "DepthwiseConv2D", **settings)
        else:
            kernel = self.constant(f"{name}.weight", weight.transpose(0, 2, 3, 1))
            self.operator("CONV_2D", [x, kernel, bias], output, "Conv2D", **settings)

    def with_room_for(self, bias: Array, weight: Array, x: Value) -> Array:
        """The weight, with a larger first element in channels where the int8 scale would be too small for the bias.

        The quantizer makes the scale of the largest element. This one adds 1/30 000 of the bias at most.
        """
        if self.values is None:
            return weight
        least = 127 * least_weight_scales(bias, scale_of(self.values[x.index]))
        changed = weight.copy()
        elements = changed.reshape(len(weight), -1)
        small = np.abs(elements).max(axis=1) < least
        elements[small, 0] = least[small]
        return changed

    def activation(self, x: int, kind: str, value: Value) -> int:
        """Append an activation that is not fused, of tensor `x`; returns the tensor of `value`."""
        output = self.value_tensor(value)
        name = self.tensors[output].name
        match kind:
            case "hswish" if self.split_hswish:
                gate = self.like(output, f"{name}.gate", (0.0, 1.0))
                self.sixth(self.relu6_of_plus_three(x, output, name), gate)
                self.operator("MUL", [x, gate], output, "Mul")
            case "hsigmoid":
                self.sixth(self.relu6_of_plus_three(x, output, name), output)
            case "hswish":
                self.operator("HARD_SWISH", [x], output, "HardSwish")
            case _:
                self.operator(kind.upper(), [x], output)
        return output

    def relu6_of_plus_three(self, x: int, output: int, name: str) -> int:
        """Append relu6(x + 3), of the shape that the tensor `output` has."""
        relu6 = self.like(output, f"{name}.relu6", (0.0, 6.0))
        three = self.constant(f"{name}.three", np.array([3], np.float32))
        self.operator("ADD", [x, three], relu6, "Add", fusedActivationFunction=self.schema.ActivationFunctionType.RELU6)
        return relu6

    def sixth(self, x: int, output: int) -> None:
        """Append the product of `x` with 1/6."""
        sixth = self.constant(f"{self.tensors[output].name}.sixth", np.array([1 / 6], np.float32))
        self.operator("MUL", [x, sixth], output, "Mul")

    def operator(self, kind: str, inputs: list[int], output: int, options: str = "", **settings: Any) -> None:
        """Append an operator; `options` names the schema's table that `settings` go into."""
        found = self.schema.OperatorT()
        builtin = getattr(self.schema.BuiltinOperator, kind)
        found.opcodeIndex = self.codes.setdefault(builtin, len(self.codes))
        found.inputs, found.outputs = inputs, [output]
        if options:
            found.builtinOptionsType = getattr(self.schema.BuiltinOptions, f"{options}Options")
            found.builtinOptions = getattr(self.schema, f"{options}OptionsT")()
            for key, value in settings.items():
                setattr(found.builtinOptions, key, value)
        self.operators.append(found)

    def value_tensor(self, value: Value) -> int:
        """A tensor for a value of the graph, called as in the ONNX files."""
        if value.index == self.graph.input.index:
            return self.tensor("input", value)
        return self.tensor("output" if value.index == self.graph.output.index else f"t{value.index}", value)

    def tensor(self, name: str, value: Value) -> int:
        """A tensor with the value's shape, channels last, and its range."""
        shape = value.shape if len(value.shape) == 2 else tuple(value.shape[axis] for axis in (0, 2, 3, 1))
        return self._tensor(name, shape, value.index)

    def like(self, tensor: int, name: str, ends: tuple[float, float]) -> int:
        """A tensor of the same shape, whose elements are known to lie between `ends`."""
        return self._tensor(name, self.shapes[tensor], ends)

    def constant(self, name: str, array: Array | NDArray[np.int32]) -> int:
        """A tensor with content."""
        found = self._tensor(name, array.shape, None)
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.tensors[found].buffer = len(self.buffers)
        self.buffers.append(buffer)
        if array.dtype == np.int32:
            self.tensors[found].type = self.schema.TensorType.INT32
        return found

    def _tensor(self, name: str, shape: tuple[int, ...], range_: Range | None) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), self.schema.TensorType.FLOAT32, 0
        self.tensors.append(tensor)
        self.shapes.append(shape)
        self.ranges.append(range_)
        return len(self.tensors) - 1

    def _code(self, builtin: int) -> Any:
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
        return code

    def _named(self, name: str, tensor: int) -> Any:
        found = self.schema.TensorMapT()
        found.name, found.tensorIndex = name, tensor
        return found


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise DeviceError("writing TFLite needs ai-edge-litert: pip install 'hwnas[litert]'") from error
    return schema_py_generated
