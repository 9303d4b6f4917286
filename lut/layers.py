"""What blocks are made of: a Layer that has weights, and the operations that blocks may be wired from.

B batch, C channels (`_chs`), I O input and output channels, K kernel size, `_hw` height and width
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np

from profilers.graph import Activation, Array

T = TypeVar("T")
Act = Activation | Literal["none"]


@dataclass(frozen=True)
class Layer:
    """A convolution or linear map of a block, with what follows it: batch norm or a bias, if any, then `act`."""

    name: str
    in_chs: int
    out_chs: int
    out_hw: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    norm: bool = True
    bias: bool = False
    act: Act = "none"

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight, (O, I / groups, K, K)."""
        return (self.out_chs, self.in_chs // self.groups, self.kernel, self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return int(np.prod(self.weight_shape)) * self.out_hw**2

    @property
    def params(self) -> int:
        """Trainable parameters: the weight, the scale and shift of batch norm, the bias."""
        return int(np.prod(self.weight_shape)) + self.out_chs * (2 * self.norm + self.bias)


class Ops(Protocol[T]):
    """What a block may be wired from; T is a tensor, or a Value of a graph."""

    def conv(self, x: T, layer: Layer) -> T:
        """Apply a convolution with its norm and activation."""
        ...

    def linear(self, x: T, layer: Layer) -> T:
        """Apply a linear map to (B, C, 1, 1)."""
        ...

    def pool(self, x: T) -> T:
        """Average over height and width, to (B, C, 1, 1)."""
        ...

    def add(self, x: T, y: T) -> T:
        """Sum of two tensors."""
        ...

    def mul(self, x: T, gate: T) -> T:
        """Product with a gate of (B, C, 1, 1)."""
        ...


Weights = Callable[[Layer], tuple[Array, Array]]
"""Gives a layer's folded weight (O, I / groups, K, K) and bias (O,)."""


def random_weights(rng: np.random.Generator) -> Weights:
    """Weights for profiling: values of a size that keeps activations near 1, so nothing denormal is timed."""

    def weights(layer: Layer) -> tuple[Array, Array]:
        scale = np.float32(np.prod(layer.weight_shape[1:]) ** -0.5)
        weight = rng.standard_normal(layer.weight_shape, dtype=np.float32) * scale
        return weight, rng.standard_normal(layer.out_chs, dtype=np.float32) * np.float32(0.1)

    return weights


def make_divisible(value: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, at least one, and never below 90 % of `value` (MobileNetV2's code)."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * value else nearest + divisor


def shape_only(layer: Layer) -> tuple[Array, Array]:
    """Weights that only have a shape: for counting, not for running."""
    zero = np.zeros((), np.float32)  # broadcast: no memory is taken for weights nobody reads
    return np.broadcast_to(zero, layer.weight_shape), np.broadcast_to(zero, (layer.out_chs,))
