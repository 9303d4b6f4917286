"""The sandwich rule with in-place distillation (BigNAS, Yu et al. 2020, sections 3.1 and 3.2).

Each step trains the largest subnet on the labels, and the smallest and a few random ones on the soft predictions
the largest has just made.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from hwnas.nets.supernet import Supernet


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
        """Add one step's gradients: images (B, C, H, W), labels (B,)."""
        logits = net(images, net.space.largest)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        losses = {"largest": loss.item()}
        soft_labels = logits.detach().softmax(dim=1)
        others = [net.space.smallest, *map(net.space.arch, net.space.sample(self.randoms, rng))]
        for name, arch in zip(("smallest", *("random",) * self.randoms), others, strict=True):
            loss = F.cross_entropy(net(images, arch), soft_labels)  # KL divergence, up to the teacher's entropy
            loss.backward()
            losses[name] = loss.item()
        return losses


def build() -> Sandwich:
    """The recipe with its settings."""
    return Sandwich()
