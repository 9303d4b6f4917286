"""Costs of architectures other than latency, compiled for whole populations: MACs, parameters, memory, file size.

A model file is its arrays, and what names and connects them. The arrays follow from the layers. The rest depends on
which operations a block has, but not on their channels: a small stand-in of each structure is written behind PROBE,
and the file grows by as much as the block will need in any network.
"""

import math
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np

from hwnas.space import Factor, SearchSpace
from lut.blocks import Block, Conv, MBConv
from lut.compiled import Compiled, Table
from lut.layers import Layer
from profilers import formats
from profilers.formats import Form
from profilers.graph import Array, Graph, Value

ELEMENT_BYTES = {"fp32": 4, "int8": 1}
OUTPUT_DIGITS = len("output") - 1  # the last value has this name, the others are `t` and a number

# What files hold once is written with these; and int8 weights of 256 KiB, above which ai-edge-quantizer sets arrays
# apart, so that this is counted for small networks, too.
PROBE = (Conv(40, 40, 4, 13, 2, "hswish"), MBConv(40, 40, 2, 48, 3, 1, True, "hswish"))

ONNX_CHANNEL_BYTES = {
    "fp32": (4,),  # the bias
    "int8": (4, 4, 4, 4, 1),  # bias, its scales and zero points, the weight's scales and zero points
}
ONNX_LABEL_BYTES = 60  # name, type and dimensions of an array, at most


def macs(space: SearchSpace) -> Compiled:
    """Multiply-accumulates for one image."""
    return Compiled.of(space, lambda block: block.macs)


def params(space: SearchSpace) -> Compiled:
    """Trainable parameters."""
    return Compiled.of(space, lambda block: block.params)


def peak_activation_bytes(space: SearchSpace, form: Form) -> Compiled:
    """Most memory that live tensors need at once for one image, operations run in order, each into new memory.

    Only one tensor lives between two blocks of a chain, so a network needs what the neediest of its blocks needs.
    """
    shrunk = ELEMENT_BYTES["fp32"] // ELEMENT_BYTES[form.precision]
    return Compiled.of(space, lambda block: block.peak_activation_bytes // shrunk, most=True)


def file_bytes(space: SearchSpace, format: str, form: Form) -> Compiled:
    """What a model file of `format` takes: never below the real size, and at most 1 % or 2 kB above.

    Above, because numbers in names have as many digits as the deepest network needs, and padding is taken at its most.
    Raises UnknownNameError for the format, and DeviceError where what writes it is not installed.
    """
    tables: list[Table] = [((), np.array(_frame_bytes(format, form)))]
    operations = 0
    for factor in space.factors:
        structures = {_stand_in(block) for block in factor.blocks.flat if block is not None}
        operations += max(map(_operations, structures))
        digits = OUTPUT_DIGITS if factor is space.factors[-1] else max(2, len(str(operations)))
        tables.append(_table(factor, format, form, digits))
    return Compiled(space.sizes, tables)


def _table(factor: Factor, format: str, form: Form, digits: int) -> Table:
    """What each block of a slot takes in a file."""
    sizes = {None: 0}
    for block in dict.fromkeys(block for block in factor.blocks.flat if block is not None):
        sizes[block] = _arrays_bytes((block,), format, form) + _rest_bytes(_stand_in(block), format, form, digits)
    return factor.dims, np.array([sizes[block] for block in factor.blocks.flat]).reshape(factor.blocks.shape)


@cache
def _stand_in(block: Block) -> Block:
    """A small block with the structure of this one: equal channels stay equal, and so does how a stride is padded."""
    settings: dict[str, Any] = {field.name: getattr(block, field.name) for field in fields(block)}
    distinct = list(dict.fromkeys(count for name, count in settings.items() if name.endswith("_chs")))
    small = {name: 40 + 8 * distinct.index(settings[name]) for name in settings if name.endswith("_chs")}
    small["hw"] = 1 + (block.hw - 1) % settings.get("stride", 1)
    if "kernel" in settings:
        small["kernel"] = min(settings["kernel"], 3)  # a kernel of 1 needs no padding, all others do
    return replace(block, **small)


@cache
def _frame_bytes(format: str, form: Form) -> int:
    """What a file holds beside its blocks."""
    parts = sum(_rest_bytes(_stand_in(block), format, form, 2) for block in PROBE)
    return _without_arrays(PROBE, format, form, 2) - parts


@cache
def _rest_bytes(block: Block, format: str, form: Form, digits: int) -> int:
    """What a block takes beside its arrays, where numbers in names have so many digits."""
    probe = (replace(PROBE[0], hw=2 * block.hw), replace(PROBE[1], hw=block.hw))
    grown = _without_arrays((*probe, block), format, form, digits) - _without_arrays(probe, format, form, digits)
    return grown + (16 if format == "tflite" else 0)  # ai-edge-quantizer rounds both sizes up to multiples of this


@cache
def _without_arrays(blocks: tuple[Block, ...], format: str, form: Form, digits: int) -> int:
    """The size of a file without its arrays, names having numbers of `digits` digits."""
    graph = _numbered(_chain(blocks), 10 ** (digits - 1))
    writer, split = formats.load(format), form.hswish == "split"
    if form.precision == "fp32":
        content = writer.write(graph, split_hswish=split)
    else:
        ranges = {value.index: (-1.0, 1.0) for value in (graph.input, *(op.output for op in graph.operations))}
        content = writer.write_int8(graph, ranges, split_hswish=split, inner=False)
    return len(content) - _arrays_bytes(blocks, format, form)


@cache
def _operations(block: Block) -> int:
    return len(_chain((block,)).operations) - 1


def _chain(blocks: tuple[Block, ...]) -> Graph:
    """Blocks in a row, and an addition, so that it is not one of theirs that writes the output."""
    graph = Graph((1, blocks[0].in_chs, blocks[0].hw, blocks[0].hw))
    value = graph.input
    for block in blocks:
        value = block.emit(graph, value, _ones)
    return graph.finish(graph.add(value, value))


def _ones(layer: Layer) -> tuple[Array, Array]:
    one = np.ones((), np.float32)
    return np.broadcast_to(one, layer.weight_shape), np.broadcast_to(one, (layer.out_chs,))


def _numbered(graph: Graph, first: int) -> Graph:
    """The same graph with its values but the input numbered from `first` + 1."""

    def moved(value: Value) -> Value:
        return value if value is graph.input else replace(value, index=first + value.index)

    numbered = Graph(graph.input.shape)
    for operation in graph.operations:
        inputs = tuple(moved(value) for value in operation.inputs)
        numbered.operations.append(replace(operation, inputs=inputs, output=moved(operation.output)))
    return numbered.finish(moved(graph.output))


def _arrays_bytes(blocks: tuple[Block, ...], format: str, form: Form) -> int:
    """What the layers' arrays take, with all that depends on how many channels there are."""
    of_layer = {"onnx": _onnx_bytes, "tflite": _tflite_bytes}[format]
    return sum(of_layer(layer, form.precision) for block in blocks for layer in block.layers)


def _onnx_bytes(layer: Layer, precision: str) -> int:
    """Protobuf: sizes and counts are varints, 7 bits a byte."""

    def array(item_bytes: int, *shape: int) -> int:
        size = item_bytes * math.prod(shape)
        return size + sum(map(_varint_bytes, (size, size + ONNX_LABEL_BYTES, *shape)))

    weight = array(ELEMENT_BYTES[precision], *layer.weight_shape)
    channels = sum(array(item_bytes, layer.out_chs) for item_bytes in ONNX_CHANNEL_BYTES[precision])
    return weight + channels + _varint_bytes(layer.groups)


def _varint_bytes(number: int) -> int:
    return math.ceil(number.bit_length() / 7) or 1


def _tflite_bytes(layer: Layer, precision: str) -> int:
    """Flatbuffer: arrays are aligned; int8 scales (4 bytes) and zero points (8) are in the tables of the tensors."""
    weight, bias = ELEMENT_BYTES[precision] * math.prod(layer.weight_shape), 4 * layer.out_chs
    if precision == "fp32":
        return weight + bias
    scales = 2 * (4 + 8) * layer.out_chs
    # Those of 1 KiB or more are set apart, with a position and a length (ai-edge-quantizer 0.10).
    return scales + sum(_up(size, 16) + 12 if size >= 1024 else _up(size, 8) for size in (weight, bias))


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
