"""The supernet: every architecture of a space in one set of weights. Which one runs is an argument, never a state."""

import torch
from torch import Tensor, nn

from hwnas.arch import Arch
from hwnas.nets.elastic import ElasticBlock, ElasticLayer
from hwnas.nets.static import StaticBlock, StaticLayer, StaticNet, channels_last, initialise
from hwnas.space import SearchSpace
from lut.blocks import MBConv


class Supernet(nn.Module):
    """Elastic weights for all architectures of `space`, initialised from `seed`.

    >>> supernet = Supernet(space, seed=0)
    >>> logits = supernet(images, arch)                 # (B, C, H, W) to (B, classes), any arch of the space
    >>> net = supernet.extract(arch)                    # the same numbers, as an ordinary module
    """

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        largest, norm_eps = space.layers(space.largest), space.norm_eps
        self.slots = nn.ModuleDict({slot: ElasticBlock(block, norm_eps) for slot, block in largest.items()})
        initialise(self, torch.Generator().manual_seed(seed))
        for slot, block in largest.items():
            if isinstance(block, MBConv) and block.residual:
                # A residual block begins as the identity: deep subnets learn from the first step (Goyal et al. 2017).
                project = self.elastic(slot).layers["project"]
                assert isinstance(project, ElasticLayer)
                nn.init.zeros_(project.scale)
        channels_last(self)

    def elastic(self, slot: str) -> ElasticBlock:
        """The elastic block of a slot."""
        module = self.slots[slot]
        assert isinstance(module, ElasticBlock)
        return module

    def forward(self, x: Tensor, arch: Arch) -> Tensor:
        """Run `arch` on images: (B, C, H, W) to (B, classes)."""
        for slot, block in self.space.layers(arch).items():
            x = self.slots[slot](x, block)
        return x

    def extract(self, arch: Arch) -> StaticNet:
        """`arch` as a static net that holds copies of its slices; in this net's training or eval mode."""
        blocks = self.space.layers(arch)
        net = StaticNet(blocks)
        for slot, block in blocks.items():
            static = net.slots[slot]
            assert isinstance(static, StaticBlock)
            for layer in block.layers:
                source, target = self.elastic(slot).layers[layer.name], static.layers[layer.name]
                assert isinstance(source, ElasticLayer) and isinstance(target, StaticLayer)
                source.copy_to(target, layer)
        return channels_last(net).train(self.training)
