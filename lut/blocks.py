"""A Block: one row of a latency table, which is one building block of a network at one size.

`Block.wire` is the only place that says which operations a block consists of. It is written against `Ops`, so
one wiring serves the graph that is profiled and exported, the static module, and the elastic one; `layers` is
the one list of weights that sizes, MACs and parameters are counted from.

B batch, C channels (`_chs`), H height and width of the block's input (`_hw`), K kernel size, mid: expanded width
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any, ClassVar, get_args, get_type_hints

from lut.layers import Act, Layer, Ops, T, Weights, make_divisible, shape_only
from profilers.errors import InvalidInputError, shown
from profilers.graph import Activation, Graph, Value


@dataclass(frozen=True)
class Block(ABC):
    """One row of a latency table; frozen, hashable, spelled by `key`."""

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[Block]]] = {}

    in_chs: int
    out_chs: int
    hw: int  # height and width of the input

    def __init_subclass__(cls) -> None:
        Block.kinds[cls.kind] = cls

    @cached_property
    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """What has weights, in the order it runs."""

    @abstractmethod
    def wire(self, ops: Ops[T], x: T) -> T:
        """Run the block's operations on `x`, (B, in_chs, hw, hw) to (B, out_chs, out_hw, out_hw)."""

    @property
    def out_hw(self) -> int:
        """Height and width of the output."""
        return self.layers[-1].out_hw

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, summed over the layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def params(self) -> int:
        """Trainable parameters, summed over the layers."""
        return sum(layer.params for layer in self.layers)

    @property
    def peak_activation_bytes(self) -> int:
        """Most memory live tensors need at once, for one float32 image."""
        return _peak_activation_bytes(self)

    @property
    def key(self) -> str:
        """The block's spelling in tables, e.g. `mbconv in_chs=24 … act=relu`; `Block.parse` inverts it."""
        settings = (f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        return " ".join([self.kind, *settings])

    @staticmethod
    def parse(key: str) -> Block:
        """The block that `key` spells; raises InvalidInputError."""
        kind, *settings = key.split(" ")
        try:
            cls = Block.kinds[kind]
            hints, given = _hints(cls), dict(setting.split("=") for setting in settings)
            return cls(**{name: _READERS[hints[name]](text) for name, text in given.items()})
        except (KeyError, ValueError, TypeError) as error:
            raise InvalidInputError(f"no block is spelled {shown(key)}; kinds are {', '.join(Block.kinds)}") from error

    def emit(self, graph: Graph, x: Value, weights: Weights) -> Value:
        """Append the block's operations to `graph` and return their output."""
        return self.wire(_GraphOps(graph, weights), x)


@dataclass(frozen=True)
class Conv(Block):
    """A convolution with its activation, and batch norm unless `norm` is off: stems and head layers."""

    kind: ClassVar[str] = "conv"

    kernel: int
    stride: int
    act: Act
    norm: bool = True

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """One layer."""
        out_hw = -(-self.hw // self.stride)
        layer = Layer("conv", self.in_chs, self.out_chs, out_hw, self.kernel, self.stride)
        return (replace(layer, norm=self.norm, act=self.act),)

    def wire(self, ops: Ops[T], x: T) -> T:
        """Convolve."""
        return ops.conv(x, self.layers[0])


@dataclass(frozen=True)
class MBConv(Block):
    """Inverted residual: 1x1 expansion to `mid_chs`, depthwise K x K, squeeze-and-excitation, 1x1 projection.

    The expansion is left out where `mid_chs` equals `in_chs`. The input is added where stride is 1 and widths
    agree (MobileNetV2, Sandler et al. 2018, table 1). SE gates by a hard sigmoid (MobileNetV3, Howard et al. 2019).
    """

    kind: ClassVar[str] = "mbconv"

    mid_chs: int
    kernel: int
    stride: int
    se: bool
    act: Act

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Layers `expand`, `depthwise`, `se_reduce`, `se_expand`, `project`, as far as the block has them."""
        mid, hw, out_hw, act = self.mid_chs, self.hw, -(-self.hw // self.stride), self.act
        found = [] if mid == self.in_chs else [Layer("expand", self.in_chs, mid, hw, act=act)]
        found.append(Layer("depthwise", mid, mid, out_hw, self.kernel, self.stride, groups=mid, act=act))
        if self.se:
            squeezed = make_divisible(mid // 4)
            found.append(Layer("se_reduce", mid, squeezed, 1, norm=False, bias=True, act="relu"))
            found.append(Layer("se_expand", squeezed, mid, 1, norm=False, bias=True, act="hsigmoid"))
        return (*found, Layer("project", mid, self.out_chs, out_hw))

    @property
    def residual(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.in_chs == self.out_chs

    def wire(self, ops: Ops[T], x: T) -> T:
        """Expand, filter, gate, project, add."""
        layers = {layer.name: layer for layer in self.layers}
        y = ops.conv(x, layers["expand"]) if "expand" in layers else x
        y = ops.conv(y, layers["depthwise"])
        if self.se:
            gate = ops.conv(ops.pool(y), layers["se_reduce"])
            y = ops.mul(y, ops.conv(gate, layers["se_expand"]))
        y = ops.conv(y, layers["project"])
        return ops.add(x, y) if self.residual else y


@dataclass(frozen=True)
class Pool(Block):
    """Global average pooling, the part of a head that has no weights."""

    kind: ClassVar[str] = "pool"

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """None."""
        return ()

    @property
    def out_hw(self) -> int:
        """One."""
        return 1

    def wire(self, ops: Ops[T], x: T) -> T:
        """Average."""
        return ops.pool(x)


@dataclass(frozen=True)
class Linear(Block):
    """The classifier: a linear map of (B, C, 1, 1) to (B, classes)."""

    kind: ClassVar[str] = "linear"

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """One layer."""
        return (Layer("linear", self.in_chs, self.out_chs, 1, norm=False, bias=True),)

    def wire(self, ops: Ops[T], x: T) -> T:
        """Map."""
        return ops.linear(x, self.layers[0])


@dataclass(frozen=True)
class PooledLinear(Linear):
    """A classifier with the pool before it, as some published tables measure it: (B, C, hw, hw) to (B, classes)."""

    kind: ClassVar[str] = "pooled_linear"

    def wire(self, ops: Ops[T], x: T) -> T:
        """Average, then map."""
        return super().wire(ops, ops.pool(x))


def chain(parts: Sequence[tuple[Block, Weights]], batch: int = 1) -> Graph:
    """Blocks in a row, each with its weights, as one graph: a block alone, or a whole network."""
    first = parts[0][0]
    graph = Graph((batch, first.in_chs, first.hw, first.hw))
    value = graph.input
    for block, weights in parts:
        value = block.emit(graph, value, weights)
    return graph.finish(value)


@dataclass(frozen=True)
class _GraphOps:
    """Wires a block into a graph."""

    graph: Graph
    weights: Weights

    def conv(self, x: Value, layer: Layer) -> Value:
        weight, bias = self.weights(layer)
        y = self.graph.conv(x, weight, bias, stride=layer.stride, groups=layer.groups)
        return y if layer.act == "none" else self.graph.activation(y, layer.act)

    def linear(self, x: Value, layer: Layer) -> Value:
        weight, bias = self.weights(layer)
        return self.graph.linear(x, weight.reshape(layer.out_chs, layer.in_chs), bias)

    def pool(self, x: Value) -> Value:
        return self.graph.pool(x)

    def add(self, x: Value, y: Value) -> Value:
        return self.graph.add(x, y)

    def mul(self, x: Value, gate: Value) -> Value:
        return self.graph.mul(x, gate)


@cache
def _peak_activation_bytes(block: Block) -> int:
    return chain([(block, shape_only)]).peak_activation_bytes()


@cache
def _hints(cls: type[Block]) -> dict[str, Any]:
    return get_type_hints(cls)


def _read_bool(text: str) -> bool:
    return {"True": True, "False": False}[text]


def _read_count(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def _read_act(text: str) -> str:
    if text not in ("none", *get_args(Activation)):
        raise ValueError(text)
    return text


_READERS: dict[Any, Callable[[str], Any]] = {int: _read_count, bool: _read_bool, Act: _read_act}
