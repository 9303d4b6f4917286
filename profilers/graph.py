"""A network as data: a checked list of primitive operations with numpy weights.

Batch norm is folded and weights are what torch calls OIHW. Writers in `profilers.formats` turn a Graph into
a model file; nothing here depends on a file format or a runtime.

B batch, C channels, H W height and width, O I output and input channels of a weight, K kernel size
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Activation = Literal["relu", "relu6", "hswish", "hsigmoid"]
Kind = Literal["conv", "linear", "pool", "add", "mul", "relu", "relu6", "hswish", "hsigmoid"]


@dataclass(frozen=True)
class Value:
    """A tensor that flows through a graph; `shape` is (B, C, H, W), or (B, C) behind a linear layer."""

    index: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Operation:
    """One primitive operation: `output` = kind(`inputs`), with weight and bias where the kind has them."""

    kind: Kind
    inputs: tuple[Value, ...]
    output: Value
    weight: Array | None = None  # conv (O, I / groups, K, K), linear (O, I)
    bias: Array | None = None  # (O,)
    stride: int = 1
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Step:
    """An operation with the activation behind it, where nothing else reads its result: what runtimes fuse."""

    operation: Operation
    act: Activation | None
    output: Value


class Graph:
    """Operations in the order they run, from one input to one output.

    >>> graph = Graph((1, 3, 8, 8))
    >>> y = graph.conv(graph.input, np.zeros((4, 3, 3, 3), np.float32), np.zeros(4, np.float32), stride=2)
    >>> graph.finish(graph.activation(y, "relu")).output.shape
    (1, 4, 4, 4)
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.input = self.output = Value(0, input_shape)
        self.operations: list[Operation] = []

    def conv(self, x: Value, weight: Array, bias: Array, *, stride: int = 1, groups: int = 1) -> Value:
        """Convolve (B, I, H, W) with an odd kernel and K // 2 zeros around: (B, O, ceil(H / s), ceil(W / s))."""
        batch, in_chs, height, width = x.shape
        out_chs, group_chs, kernel, kernel_w = weight.shape
        if group_chs * groups != in_chs or bias.shape != (out_chs,) or kernel != kernel_w or kernel % 2 == 0:
            raise ValueError(f"conv of {x.shape} by weight {weight.shape}, bias {bias.shape}, {groups} groups")
        shape = (batch, out_chs, -(-height // stride), -(-width // stride))
        return self._append("conv", (x,), shape, weight, bias, stride, groups)

    def linear(self, x: Value, weight: Array, bias: Array) -> Value:
        """Map (B, I) or (B, I, 1, 1) to (B, O)."""
        if x.shape[1:] not in ((weight.shape[1],), (weight.shape[1], 1, 1)) or bias.shape != weight.shape[:1]:
            raise ValueError(f"linear map of {x.shape} by weight {weight.shape}, bias {bias.shape}")
        return self._append("linear", (x,), (x.shape[0], weight.shape[0]), weight, bias)

    def pool(self, x: Value) -> Value:
        """Average over height and width: (B, C, H, W) to (B, C, 1, 1)."""
        return self._append("pool", (x,), (*x.shape[:2], 1, 1))

    def add(self, x: Value, y: Value) -> Value:
        """Sum of two tensors of one shape."""
        if x.shape != y.shape:
            raise ValueError(f"sum of {x.shape} and {y.shape}")
        return self._append("add", (x, y), x.shape)

    def mul(self, x: Value, gate: Value) -> Value:
        """Product of (B, C, H, W) with a gate of (B, C, 1, 1)."""
        if gate.shape != (*x.shape[:2], 1, 1):
            raise ValueError(f"product of {x.shape} with a gate of {gate.shape}")
        return self._append("mul", (x, gate), x.shape)

    def activation(self, x: Value, kind: Activation) -> Value:
        """Elementwise relu, relu6, h-swish x·relu6(x + 3) / 6 or hard-sigmoid relu6(x + 3) / 6."""
        return self._append(kind, (x,), x.shape)

    def finish(self, output: Value) -> "Graph":
        """Name the output; returns the graph itself."""
        self.output = output
        return self

    def peak_activation_bytes(self, bytes_per_element: int = 4) -> int:
        """Most memory that live tensors need at once when operations run in order, each into new memory."""
        last_use = {value.index: step for step, value in self._uses()}
        live = {self.input.index: int(np.prod(self.input.shape))}
        peak = sum(live.values())
        for step, operation in enumerate(self.operations):
            live[operation.output.index] = int(np.prod(operation.output.shape))
            peak = max(peak, sum(live.values()))
            live = {index: size for index, size in live.items() if last_use.get(index, -1) > step}
        return peak * bytes_per_element

    def steps(self) -> list[Step]:
        """The operations in order, activations joined to the operation they belong to, if any."""
        readings = Counter(value.index for _, value in self._uses())
        behind = {op.inputs[0].index: op for op in self.operations if op.kind in get_args(Activation)}
        found, joined = list[Step](), set[int]()
        for operation in self.operations:
            if operation.output.index in joined:
                continue
            act = behind.get(operation.output.index)
            if act is None or readings[operation.output.index] > 1 or operation.kind in get_args(Activation):
                found.append(Step(operation, None, operation.output))
            else:
                joined.add(act.output.index)
                found.append(Step(operation, cast(Activation, act.kind), act.output))
        return found

    def _uses(self) -> Iterator[tuple[int, Value]]:
        for step, operation in enumerate(self.operations):
            for value in operation.inputs:
                yield step, value
        yield len(self.operations), self.output

    def _append(
        self,
        kind: Kind,
        inputs: tuple[Value, ...],
        shape: tuple[int, ...],
        weight: Array | None = None,
        bias: Array | None = None,
        stride: int = 1,
        groups: int = 1,
    ) -> Value:
        output = Value(len(self.operations) + 1, shape)
        self.operations.append(Operation(kind, inputs, output, weight, bias, stride, groups))
        return output
