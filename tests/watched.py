"""Supernets that note which subnets a recipe runs, and what a step of one is here: a small batch of noise."""

import numpy as np
import torch

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.recipes import open_recipe

SPACE = open_space("digits@0.1", resolutions=(12, 16), classes=5)
DIMENSIONS = [dimension.name for dimension in SPACE.dimensions]
IMAGES = torch.randn(10, 1, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10) % 5


class Watched(Supernet):
    """Notes which architectures learn, which are only judged, and on images of which size they all run."""

    def __init__(self, space=SPACE):
        super().__init__(space)
        for module in self.modules():
            if hasattr(module, "scale"):  # residual branches begin switched off: nothing behind them would show
                torch.nn.init.ones_(module.scale)
        self.trained, self.judged, self.sizes = [], [], []

    def forward(self, x, arch):
        (self.trained if torch.is_grad_enabled() else self.judged).append(arch)
        self.sizes.append((arch, x.shape[-1]))
        return super().forward(x, arch)


class Unlearning(Supernet):
    """Takes no time: it answers with zeros, and notes which architectures ran."""

    def __init__(self, space=SPACE):
        super().__init__(space)
        self.ran = []

    def forward(self, x, arch):
        self.ran.append(arch)
        return torch.zeros(len(x), self.space.classes, requires_grad=True)


def step(net, recipe, seed=0, progress=0.5, labels=LABELS):
    """A step of a recipe, of a fresh one if it is only named: its losses."""
    recipe = open_recipe(recipe) if isinstance(recipe, str) else recipe
    return recipe.backward(net, IMAGES, labels, progress, np.random.default_rng(seed))


def subnets(recipe, steps, space=SPACE, progress=0.5):
    """The subnets that some steps of a recipe run."""
    net, recipe = Unlearning(space), open_recipe(recipe)
    for seed in range(steps):
        step(net, recipe, seed, progress)
    return net.ran


def gradients(net):
    """The gradients of a net by parameter."""
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
