"""Model file formats: one file each, which is a Format; the file's name is the format's and its suffix."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from profilers import plugins
from profilers.graph import Array, Graph

PRECISIONS = ("fp32", "int8")
HSWISH_FORMS = ("fused", "split")

BIAS_LIMIT = 2**30  # in steps of a 32-bit number: as much again is left for the sum that a bias begins
BYTE_STEPS = 255  # from the least to the greatest 8-bit number

Ranges = Mapping[int, tuple[float, float]]
"""Least and greatest element of each value of a graph, by the value's index: what int8 scales are made from."""


@dataclass(frozen=True)
class ModelFile:
    """The bytes of a model file and the format they are in."""

    format: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """How a graph is spelled in a file: its number type, and whether h-swish is one operation or several.

    The split form, x·relu6(x + 3) / 6, is there because few runtimes have an int8 kernel for h-swish itself.
    """

    precision: str = "fp32"
    hswish: str = "fused"


FP32 = Form()


class Format(Protocol):
    """What a file in this folder holds."""

    RUNTIME: str  # the runtime on this machine that files of this format are proven on
    PREDICT: str  # source of `logits_of(path, image)` for scripts that run a file without hwnas; may call `fail(text)`

    def write(self, graph: Graph, *, split_hswish: bool = False) -> bytes:
        """Serialise a graph in float32."""
        ...

    def write_int8(self, graph: Graph, ranges: Ranges, *, split_hswish: bool, inner: bool) -> bytes:
        """Serialise a graph in int8; with `inner`, input and output are 8-bit tensors as inside a network."""
        ...


def scale_of(range_: tuple[float, float]) -> float:
    """The step of an 8-bit number with a range; 1 where the range has no width."""
    low, high = range_
    return (high - low) / BYTE_STEPS or 1.0


def least_weight_scales(bias: NDArray[np.floating[Any]], input_scale: float) -> Array:
    """Scales of weights, (O,), below which biases would not fit their 32 bits.

    Biases are counted in steps of weight times input. Channels that training has switched off have weights of next to
    nothing and a bias as large as any, which would be cut off.
    """
    scales: Array = (np.abs(bias) / (BIAS_LIMIT * input_scale)).astype(np.float32)
    return scales


def names() -> tuple[str, ...]:
    """The formats there are."""
    return plugins.names(__name__)


def load(name: str) -> Format:
    """The format called `name`; raises UnknownNameError."""
    return cast(Format, plugins.load(__name__, "format", name))


def check(name: str, form: Form = FP32) -> None:
    """Raise DeviceError, which names what to install, if files of this format cannot be written here."""
    graph = Graph((1, 8, 8, 8))
    y = graph.conv(graph.input, np.ones((8, 1, 3, 3), np.float32), np.zeros(8, np.float32), groups=8)
    write(graph.finish(y), name, form)


def write(
    graph: Graph, format: str, form: Form = FP32, *, images: Array | None = None, inner: bool = False
) -> ModelFile:
    """Turn a graph into a model file of `format`.

    int8 scales come from the ranges that values take for `images`, (n, C, H, W) with n a multiple of the graph's
    batch; from random ones where none are given, which is right for random weights. A graph that is a part of a
    network is `inner`: no time is to be spent on conversions that the whole network does only at its ends.
    """
    writer, split = load(format), form.hswish == "split"
    if form.precision == "fp32":
        return ModelFile(format, writer.write(graph, split_hswish=split))
    from profilers.ranges import activation_ranges

    if images is None:
        images = np.random.default_rng(0).standard_normal(graph.input.shape, dtype=np.float32)
    ranges = activation_ranges(graph, images)
    return ModelFile(format, writer.write_int8(graph, ranges, split_hswish=split, inner=inner))
