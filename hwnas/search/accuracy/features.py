"""Features: what an accuracy predictor sees of an architecture, made for whole populations straight from their rows."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Population
from hwnas.space import SearchSpace
from lut.compiled import Compiled, Floats

CHUNK = 1024  # architectures whose features are in memory at a time
Array = NDArray[np.float32]


class Features:
    """One-hot choices as `space.encode` has them, then the logarithm of MACs.

    >>> features = Features(space)
    >>> features(population)                # (n, width) float32
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space, self.width = space, sum(space.sizes) + 1
        self.macs = Compiled.of(space, lambda block: block.macs)
        self._first = space.columns.first

    def __call__(self, population: Population) -> Array:
        """Features of n architectures, (n, width); choices that decide nothing are all zeros."""
        # What decides nothing is written where the logarithm goes afterwards.
        columns = np.where(self.space.deciding(population), population + self._first, self.width - 1)
        features = np.zeros((len(population), self.width), np.float32)
        features.reshape(-1)[columns + np.arange(len(population))[:, None] * self.width] = 1
        features[:, -1] = np.log(self.macs(population))
        return features

    def score(self, regressor: Callable[[Array], Floats], population: Population) -> Floats:
        """What `regressor` makes of the features of n architectures, (n,)."""
        scores = np.empty(len(population))
        for first in range(0, len(population), CHUNK):
            scores[first : first + CHUNK] = regressor(self(population[first : first + CHUNK]))
        return scores
