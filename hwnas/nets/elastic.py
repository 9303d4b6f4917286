"""Elastic layers: weights of the largest size, of which a call uses as much as the block it is given says.

Channels: the first ones (once-for-all, Cai et al. 2020, section 3.2). Kernels: the centre of the next larger one,
multiplied by a learned matrix shared by all channels of the layer (same section, figure 3).

O I output and input channels, K kernel size
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwnas.nets.static import BlockModule, StaticLayer, activate
from lut.blocks import Block
from lut.layers import Layer

BN_MOMENTUM = 0.1
SMALLEST_KERNEL = 3


class ElasticLayer(nn.Module):
    """A layer whose largest size is `largest`; called with the layer that is wanted of it."""

    mean: Tensor
    var: Tensor

    def __init__(self, largest: Layer, norm_eps: float) -> None:
        super().__init__()
        self.largest, self.norm_eps = largest, norm_eps
        self.weight = nn.Parameter(torch.empty(largest.weight_shape))
        if largest.norm or largest.bias:
            self.bias = nn.Parameter(torch.zeros(largest.out_chs))
        if largest.norm:
            self.scale = nn.Parameter(torch.ones(largest.out_chs))
            self.register_buffer("mean", torch.zeros(largest.out_chs))
            self.register_buffer("var", torch.ones(largest.out_chs))
        smaller = range(largest.kernel - 2, SMALLEST_KERNEL - 1, -2) if largest.groups > 1 else ()
        # By the kernel they lead to; identity: before training, a small kernel is the large one's centre.
        self.transforms = nn.ParameterDict({f"to{k}": nn.Parameter(torch.eye(k * k)) for k in smaller})
        self._shrunk: dict[tuple[int, torch.device, torch.dtype], tuple[list[Tensor], Tensor]] = {}

    def weight_of(self, layer: Layer) -> Tensor:
        """The weight that `layer` uses, (O, I / groups, K, K)."""
        weight = self.weight[: layer.out_chs, : layer.in_chs // layer.groups]
        if layer.kernel == self.largest.kernel:
            return weight
        if self.training:
            return self._shrink(weight, layer.kernel)
        # Of all channels, whether kept or not: a product of fewer rows may differ in the last bit.
        if torch.is_grad_enabled():
            return self._shrink(self.weight, layer.kernel)[: layer.out_chs]
        return self._kept(layer.kernel)[: layer.out_chs]

    def train(self, mode: bool = True) -> Self:
        """Switch between training and eval mode; nothing computed before is kept."""
        self._shrunk.clear()
        return super().train(mode)

    def _shrink(self, weight: Tensor, smallest: int) -> Tensor:
        """Kernels from (O, 1, K, K) down to (O, 1, smallest, smallest)."""
        for kernel in range(self.largest.kernel - 2, smallest - 1, -2):
            centre = weight[:, :, 1:-1, 1:-1]
            weight = (centre.reshape(-1, kernel * kernel) @ self.transforms[f"to{kernel}"].T).view(centre.shape)
        return weight

    def _kept(self, kernel: int) -> Tensor:
        """All channels at `kernel`, computed once for as long as what they are made of keeps its values.

        Values are compared, which takes a fraction of the product's time: tensors count the changes made to them, but
        not those through `.data` or numpy.
        """
        key, sources = (kernel, self.weight.device, self.weight.dtype), [self.weight, *self.transforms.values()]
        before, shrunk = self._shrunk.get(key, ([], self.weight))
        if not before or not all(map(torch.equal, before, sources)):
            shrunk = self._shrink(self.weight, kernel)
            self._shrunk[key] = [source.clone() for source in sources], shrunk
        return shrunk

    def forward(self, x: Tensor, layer: Layer) -> Tensor:
        """Apply as much of this layer as `layer` says."""
        n = layer.out_chs
        weight = self.weight_of(layer).clone(memory_format=torch.channels_last)
        bias = self.bias[:n] if layer.bias else None
        y = F.conv2d(x, weight, bias, layer.stride, layer.kernel // 2, groups=layer.groups)
        if layer.norm:
            mean, var, scale, shift = self.mean[:n], self.var[:n], self.scale[:n], self.bias[:n]
            y = F.batch_norm(y, mean, var, scale, shift, self.training, BN_MOMENTUM, self.norm_eps)
        return activate(y, layer.act)

    @torch.no_grad()
    def copy_to(self, static: StaticLayer, layer: Layer) -> None:
        """Give a static layer of `layer`'s size the weights that `forward` would use."""
        n = layer.out_chs
        static.conv.weight.copy_(self.weight_of(layer))
        if static.conv.bias is not None:
            static.conv.bias.copy_(self.bias[:n])
        if (norm := static.norm) is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            norm.eps = self.norm_eps
            norm.weight.copy_(self.scale[:n])
            norm.bias.copy_(self.bias[:n])
            norm.running_mean.copy_(self.mean[:n])
            norm.running_var.copy_(self.var[:n])


class ElasticBlock(BlockModule):
    """A slot of the supernet: runs any block that is no larger than `largest`."""

    def __init__(self, largest: Block, norm_eps: float) -> None:
        super().__init__({layer.name: ElasticLayer(layer, norm_eps) for layer in largest.layers})

    def conv(self, x: Tensor, layer: Layer) -> Tensor:
        """Apply a convolution with its norm and activation."""
        y: Tensor = self.layers[layer.name](x, layer)
        return y

    def linear(self, x: Tensor, layer: Layer) -> Tensor:
        """Map (B, I, 1, 1) to (B, O)."""
        module = self.layers[layer.name]
        assert isinstance(module, ElasticLayer)
        weight = module.weight_of(layer).reshape(layer.out_chs, layer.in_chs)
        return F.linear(x.flatten(1), weight, module.bias[: layer.out_chs])

    def forward(self, x: Tensor, block: Block) -> Tensor:
        """Run `block` with this slot's weights: (B, in_chs, hw, hw) to (B, out_chs, out_hw, out_hw)."""
        return block.wire(self, x)
