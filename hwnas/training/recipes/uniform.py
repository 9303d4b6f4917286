"""Uniform sampling: one random subnet a step, every choice drawn evenly (SPOS, Guo et al. 2020, section 3.2)."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.training.objective import learn


class Uniform:
    """Trains one random subnet a step on the labels."""

    def backward(
        self,
        net: Supernet,
        images: Tensor,
        labels: Tensor,
        progress: float,  # noqa: ARG002 - all steps are alike
        rng: np.random.Generator,
    ) -> Mapping[str, float]:
        """Add one step's gradients: images (B, C, H, W), labels (B,) or (B, classes)."""
        arch = net.space.arch(net.space.sample(1, rng)[0])
        return {"random": learn(net, arch, images, labels)}


def build() -> Uniform:
    """The recipe."""
    return Uniform()
