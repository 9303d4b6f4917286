"""Noise in place of images: enough to prove that a file computes what its net does, where no data set is known."""

from dataclasses import dataclass

import numpy as np

from hwnas.training.datasets import Batch, Split


@dataclass
class Noise:
    """Images of independent normal values, all of the first class."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    name: str = "noise"
    scaling: str = "as the supernet was trained"

    def batch(self, split: Split, index: int, size: int) -> Batch:
        """Images (size, C, H, W) and labels (size,); the same arguments give the same batch."""
        rng = np.random.default_rng([len(split), index, size])
        return rng.standard_normal((size, *self.shape), np.float32), np.zeros(size, np.int64)
