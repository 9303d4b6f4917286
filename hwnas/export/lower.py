"""Lowering: a static net becomes a Graph, with batch norm folded into the convolutions before it."""

import torch

from hwnas.nets.static import StaticBlock, StaticLayer, StaticNet
from lut.blocks import chain
from lut.layers import Layer, Weights
from profilers.graph import Array, Graph


def lower(net: StaticNet, batch: int = 1) -> Graph:
    """The net in eval mode as a graph, by the same `Block.emit` that profiling used."""
    modules = [module for module in net.slots.values() if isinstance(module, StaticBlock)]
    return chain([(module.block, _folded(module)) for module in modules], batch)


def _folded(module: StaticBlock) -> Weights:
    def weights(layer: Layer) -> tuple[Array, Array]:
        static = module.layers[layer.name]
        assert isinstance(static, StaticLayer)
        return fold(static)

    return weights


@torch.no_grad()
def fold(layer: StaticLayer) -> tuple[Array, Array]:
    """Weight (O, I / groups, K, K) and bias (O,) of a layer with its batch norm folded in.

    In float64, so that folding adds no rounding of its own: y = γ (w·x - μ) / sqrt(σ² + ε) + β.
    """
    weight = layer.conv.weight.double()
    bias = torch.zeros(len(weight)).double() if layer.conv.bias is None else layer.conv.bias.double()
    if (norm := layer.norm) is not None:
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = weight * scale[:, None, None, None]
        bias = norm.bias.double() - norm.running_mean.double() * scale
    return weight.float().contiguous().numpy(), bias.float().numpy()
