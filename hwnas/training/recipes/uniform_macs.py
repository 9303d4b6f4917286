"""Uniform sampling by MACs: one subnet a step, MACs drawn evenly (SPOS, Guo et al. 2020, uniform constraint sampling).

Where every choice is drawn evenly, the sums of many choices crowd in the middle, and the smallest and the largest
subnets, which tight and loose budgets ask for, are hardly ever trained.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.training.objective import learn
from hwnas.training.sampling import macs_of, near_macs


class UniformMacs:
    """Trains one subnet a step on the labels, of MACs drawn evenly between the least and the most there are."""

    def backward(
        self,
        net: Supernet,
        images: Tensor,
        labels: Tensor,
        progress: float,  # noqa: ARG002 - all steps are alike
        rng: np.random.Generator,
    ) -> Mapping[str, float]:
        """Add one step's gradients: images (B, C, H, W), labels (B,) or (B, classes)."""
        ends = np.stack([net.space.row(net.space.smallest), net.space.row(net.space.largest)])
        least, most = macs_of(net.space)(ends)
        arch = near_macs(net.space, rng.uniform(least, most), rng)
        return {"random": learn(net, arch, images, labels)}


def build() -> UniformMacs:
    """The recipe."""
    return UniformMacs()
