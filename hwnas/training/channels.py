"""The order of a supernet's channels: narrow subnets use the first ones of a block, so these should matter most."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

from hwnas.nets.elastic import ElasticLayer
from hwnas.nets.supernet import Supernet

PER_CHANNEL = ("bias", "scale", "mean", "var")


@torch.no_grad()
def sort_channels(net: Supernet, widths: Mapping[str, Iterable[int]]) -> None:
    """Sort the expanded channels of blocks by the L1 norm of what the projection makes of them, largest first.

    (Cai et al. 2020, section 3.3, elastic width.) `widths` has, by slot, the expanded widths that were trained:
    channels move between two of them only, so all subnets of these widths compute what they did before, up to
    rounding. The hidden channels of SE are sorted too, where a block's only trained width is its largest.
    """
    for slot, trained in widths.items():
        layers = {name: layer for name, layer in net.elastic(slot).layers.items() if isinstance(layer, ElasticLayer)}
        ends = sorted(trained)
        order = _order(layers["project"], ends)
        _move_outputs([layers["expand"], layers["depthwise"]], order)
        _move_inputs(layers["project"], order)
        if "se_reduce" in layers:
            _move_inputs(layers["se_reduce"], order)
            _move_outputs([layers["se_expand"]], order)
            if len(ends) == 1:
                hidden = _order(layers["se_expand"], [layers["se_expand"].largest.in_chs])
                _move_outputs([layers["se_reduce"]], hidden)
                _move_inputs(layers["se_expand"], hidden)


def _order(reader: ElasticLayer, ends: list[int]) -> Tensor:
    """The input channels of `reader`, (I,): sorted by importance from one of `ends` to the next."""
    importance = reader.weight.abs().sum(dim=(0, 2, 3))
    bands = [start + importance[start:end].argsort(descending=True, stable=True) for start, end in pairwise([0, *ends])]
    return torch.cat(bands)


def _move_outputs(layers: Iterable[ElasticLayer], order: Tensor) -> None:
    for layer in layers:
        for name in ("weight", *PER_CHANNEL):
            if hasattr(layer, name):
                tensor = getattr(layer, name)
                tensor.copy_(tensor[order])


def _move_inputs(layer: ElasticLayer, order: Tensor) -> None:
    layer.weight.copy_(layer.weight[:, order])
