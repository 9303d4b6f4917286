"""The sandwich rule with in-place distillation (BigNAS, Yu et al. 2020, sections 3.1 and 3.2).

Each step trains the largest subnet on the labels, and the smallest and a few random ones on the soft predictions
the largest has just made.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.training.objective import learn, learn_and_teach


@dataclass(frozen=True)
class Sandwich:
    """`randoms` random subnets a step beside the largest and the smallest; the paper takes 2, 1 is a third faster."""

    randoms: int = 1

    def backward(
        self,
        net: Supernet,
        images: Tensor,
        labels: Tensor,
        progress: float,  # noqa: ARG002 - the rule is the same from the first step to the last
        rng: np.random.Generator,
    ) -> Mapping[str, float]:
        """Add one step's gradients: images (B, C, H, W), labels (B,) or (B, classes)."""
        largest, soft_labels = learn_and_teach(net, images, labels)
        smallest = learn(net, net.space.smallest, images, soft_labels)
        rows = net.space.sample(self.randoms, rng)
        randoms = [learn(net, net.space.arch(row), images, soft_labels) for row in rows]
        return {"largest": largest, "smallest": smallest, "random": sum(randoms) / len(randoms)}


def build() -> Sandwich:
    """The recipe with its settings."""
    return Sandwich()
