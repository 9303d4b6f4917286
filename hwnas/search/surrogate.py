"""A Surrogate: accuracies as a sum over an architecture's slots, fitted to scores; what can be optimised exactly.

What a slot adds depends on its block alone: on each choice that made it, and on each pair of these (resolution and
kernel, kernel and expansion, …). So choices that decide nothing add nothing, as it is with costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hwnas.arch import Population
from hwnas.space import Factor, SearchSpace
from lut.compiled import Compiled, Floats, Table

PAIR_WEIGHT = 0.5  # of a pair's feature: what pairs add is taken to be smaller
PENALTIES = 10.0 ** np.arange(-4, 5)


@dataclass(frozen=True)
class Surrogate:
    """Accuracies of architectures as an additive `value`, and its error on architectures that were left out, `rmse`."""

    value: Compiled
    rmse: float

    @classmethod
    def fit(cls, space: SearchSpace, population: Population, accuracies: Floats) -> "Surrogate":
        """Kernel ridge regression on n scored architectures, in n**3; of penalties the one with the least error.

        The error on an architecture that was left out is exact without refitting (Allen 1974): the residual by one
        minus the row's leverage.
        """
        slots = [_Slot.of(factor) for factor in space.factors if factor.dims]
        features = np.concatenate([slot.features_of(population) for slot in slots], axis=1)
        mean, centre = float(accuracies.mean()), features.mean(axis=0)
        centred = features - centre
        powers, axes = np.linalg.eigh(centred @ centred.T)
        along = axes.T @ (accuracies - mean)
        best, rmse = np.zeros_like(along), np.inf
        for penalty in PENALTIES:
            shrunk = 1 / (np.maximum(powers, 0) + penalty)
            leverage = 1 / len(population) + axes**2 @ (np.maximum(powers, 0) * shrunk)
            residuals = penalty * (axes @ (shrunk * along))
            error = float(np.sqrt(np.mean((residuals / np.maximum(1 - leverage, 1e-9)) ** 2)))
            if error < rmse:
                best, rmse = shrunk * along, error
        worth = centred.T @ (axes @ best)
        tables = _tables(slots, worth)
        return cls(Compiled(space.sizes, [((), np.array(mean - centre @ worth)), *tables]), rmse)


@dataclass(frozen=True)
class _Slot:
    """The features of a slot, (combinations of its dimensions' choices, features)."""

    dims: tuple[int, ...]
    shape: tuple[int, ...]
    features: Floats

    @classmethod
    def of(cls, factor: Factor) -> "_Slot":
        first: dict[object, int] = {}
        same = np.array([first.setdefault(block, n) for n, block in enumerate(factor.blocks.flat)])
        shape, there = factor.blocks.shape, np.array([block is not None for block in factor.blocks.flat])
        choices = np.unravel_index(same, shape)  # of the first combination that makes the same block
        columns = [np.eye(size)[choice] for size, choice in zip(shape, choices, strict=True)]
        columns += [PAIR_WEIGHT * _pairs(a, b) for a, b in combinations(columns, 2)]
        features = np.concatenate(columns, axis=1) * there[:, None]
        return cls(factor.dims, shape, features[:, features.any(axis=0)])

    def features_of(self, population: Population) -> Floats:
        """Features of n architectures, (n, features)."""
        cells = np.ravel_multi_index(tuple(population[:, self.dims].T), self.shape)
        return np.asarray(self.features[cells])


def _tables(slots: Sequence[_Slot], worth: Floats) -> list[Table]:
    """What each slot's blocks add, where the features of all slots are worth this."""
    ends = np.cumsum([slot.features.shape[1] for slot in slots])[:-1]
    return [
        (slot.dims, (slot.features @ part).reshape(slot.shape))
        for slot, part in zip(slots, np.split(worth, ends), strict=True)
    ]


def _pairs(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, :, None] * b[:, None, :]).reshape(len(a), -1)
