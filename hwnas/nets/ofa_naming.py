"""once-for-all's names for the tensors of a supernet (`OFAMobileNetV3`, `OFAProxylessNASNets`; Cai et al. 2020).

A block that has choices wraps its layers once more than a fixed one does: `conv.conv.weight`, `bn.bn.bias`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hwnas.space import SearchSpace
from lut.blocks import MBConv
from lut.layers import Layer
from profilers.errors import InvalidInputError

_SLOTS = {
    "stem": "first_conv",
    "final_expand": "final_expand_layer",
    "feature_mix": "feature_mix_layer",
    "classifier": "classifier",
}
_LAYERS = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "se_reduce": "depth_conv.se.fc.reduce",
    "se_expand": "depth_conv.se.fc.expand",
    "project": "point_linear",
}
_NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


@dataclass(frozen=True)
class PublishedTensor:
    """A tensor of a supernet: its name in our state dict, its key in theirs, its shape there."""

    name: str
    key: str
    shape: tuple[int, ...]


def published_tensors(space: SearchSpace) -> tuple[PublishedTensor, ...]:
    """All tensors of a supernet of `space`; raises InvalidInputError for slots that their networks do not have."""
    found: list[PublishedTensor] = []
    blocks = 0
    for slot, block in space.layers(space.largest).items():
        if isinstance(block, MBConv):
            for layer in block.layers:
                prefix, wrapped = f"blocks.{blocks}.conv.{_LAYERS[layer.name]}", blocks > 0
                found.extend(_tensors(layer, f"slots.{slot}.layers.{layer.name}", prefix, wrapped))
            blocks += 1
        elif block.layers:
            if slot not in _SLOTS:
                raise InvalidInputError(f"{space.name} has a block {slot}, for which once-for-all has no name")
            (layer,) = block.layers
            found.extend(_tensors(layer, f"slots.{slot}.layers.{layer.name}", _SLOTS[slot], False))
    return tuple(found)


def plain(key: str) -> str:
    """A key without what differs between published files: the branch's name, and levels that are there twice."""
    key = key.replace(".mobile_inverted_conv.", ".conv.")
    for level in ("conv", "bn", "linear"):
        key = key.replace(f".{level}.{level}.", f".{level}.")
    return key


def _tensors(layer: Layer, name: str, prefix: str, wrapped: bool) -> Iterator[PublishedTensor]:
    if layer.name == "linear":
        yield PublishedTensor(f"{name}.weight", f"{prefix}.linear.weight", layer.weight_shape[:2])
        yield PublishedTensor(f"{name}.bias", f"{prefix}.linear.bias", (layer.out_chs,))
    elif layer.bias:
        yield PublishedTensor(f"{name}.weight", f"{prefix}.weight", layer.weight_shape)
        yield PublishedTensor(f"{name}.bias", f"{prefix}.bias", (layer.out_chs,))
    else:
        conv, norm = (f"{prefix}.conv.conv", f"{prefix}.bn.bn") if wrapped else (f"{prefix}.conv", f"{prefix}.bn")
        yield PublishedTensor(f"{name}.weight", f"{conv}.weight", layer.weight_shape)
        for ours, theirs in _NORM.items() if layer.norm else ():
            yield PublishedTensor(f"{name}.{ours}", f"{norm}.{theirs}", (layer.out_chs,))
        for kernel in range(layer.kernel - 2, 1, -2) if layer.groups > 1 else ():
            matrix = f"{prefix}.conv.{kernel + 2}to{kernel}_matrix"
            yield PublishedTensor(f"{name}.transforms.to{kernel}", matrix, (kernel**2, kernel**2))
