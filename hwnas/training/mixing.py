"""Mixup: images and their labels blended in pairs (Zhang et al. 2018)."""

import numpy as np
from torch import Tensor


def mixed(images: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) and probabilities (B, classes), each blended with the one before it in the batch.

    One share for the batch, from Beta(alpha, alpha): 1 leaves everything as it was.
    """
    share = float(rng.beta(alpha, alpha))
    return images.lerp(images.roll(1, 0), 1 - share), targets.lerp(targets.roll(1, 0), 1 - share)
