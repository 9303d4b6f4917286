"""Path dropout: parts of the largest net are left out, more and more often (One-Shot, Bender et al. 2018, section 3.2).

In Bender's net the inputs of an operation are summed paths, and each of k paths is dropped at a rate of r ** (1/k).
Here paths lie in one another: a kernel of 5 is part of that of 7, two blocks are part of three. Each of a dimension's
k choices is dropped at that rate, and the largest that is left runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hwnas.arch import Arch
from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.training.objective import learn


@dataclass(frozen=True)
class PathDropout:
    """`rate` is r at the end of the training; it rises in a line from nothing."""

    rate: float = 0.05

    def backward(
        self, net: Supernet, images: Tensor, labels: Tensor, progress: float, rng: np.random.Generator
    ) -> Mapping[str, float]:
        """Add one step's gradients: images (B, C, H, W), labels (B,) or (B, classes)."""
        return {"random": learn(net, self._left(net.space, progress, rng), images, labels)}

    def _left(self, space: SearchSpace, progress: float, rng: np.random.Generator) -> Arch:
        """What dropout leaves of the largest; where it drops all of a dimension's choices, any of them."""
        row = rng.integers(0, space.sizes)
        for dim, size in enumerate(space.sizes):
            kept = np.flatnonzero(rng.random(size) >= progress * self.rate ** (1 / size))
            row[dim] = kept[-1] if len(kept) else row[dim]
        return space.arch(space.canonical(row[None])[0])


def build() -> PathDropout:
    """The recipe with its settings."""
    return PathDropout()
