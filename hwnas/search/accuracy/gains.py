"""What each single exchange of a choice should gain, by an accuracy model made of layers; without scoring any.

Slopes (Grathwohl et al. 2021) say badly what a whole exchange does to a network of ReLUs, because some of its units
switch: on the published predictor they correlate by 0.85 with the gains of those exchanges that do not lose much. So a
unit passes a share of what comes, and that share rises from 0 to 1 over the range of what exchanges change there: it is
the mean of the unit's slope over such changes. These smoothed slopes correlate by 0.91, and searches led by them end
nearer to the best.
"""

from collections.abc import Sequence

import numpy as np

from hwnas.arch import Population
from hwnas.search.accuracy.features import Array, Features
from hwnas.search.accuracy.perceptron import one_thread
from lut.compiled import Floats
from lut.exchanges import Exchanges

PAIRS = 300  # architectures with one exchange each, which show what exchanges change at a unit
WIDTH = 2.7  # of the range in which a unit's share rises, in root mean squares of that; 2 to 3.5 do as well
LEAST = np.float32(1e-6)  # range, of units at which nothing changes


class ExchangeGains:
    """Estimates for whole populations: from `features` through layers, with ReLU between them and one output."""

    def __init__(self, features: Features, layers: Sequence[tuple[Array, Array]]) -> None:
        space = features.space
        self._space, self._features, self._hidden, self._last = space, features, layers[:-1], layers[-1][0][:, 0]
        self._first, self._dims, self._choices = space.columns.first, space.columns.dims, space.columns.choices
        self._beginning = Exchanges(space.sizes, space.deciding.tables)
        with one_thread():
            self._ranges = self._changes(np.random.default_rng(0))

    def __call__(self, population: Population) -> Floats:
        """What n architectures should gain, (n, choices of all dimensions); 0 for choices as they are.

        A choice that begins to decide something counts, and so does one that ceases to.
        """
        with one_thread():
            slopes = self._slopes(self._features(population)).astype(np.float64)
        chosen = np.take_along_axis(slopes, population + self._first, axis=1)
        deciding = self._space.deciding(population)[:, self._dims]
        gains = np.where(deciding, slopes[:, :-1] - chosen[:, self._dims], 0.0)
        gains += self._beginning(population, chosen)
        if slopes[:, -1].any():
            macs = self._features.macs
            gains += slopes[:, -1:] * np.log1p(macs.exchanged(population) / macs(population)[:, None])
        return gains

    def _slopes(self, features: Array) -> Array:
        """By how much the accuracy rises with each feature, (n, width), in the mean over what exchanges change."""
        shares: list[Array] = []
        for (weight, bias), wide in zip(self._hidden, self._ranges, strict=True):
            sums = features @ weight + bias
            shares.append(np.clip(sums / wide + np.float32(0.5), 0, 1))
            features = np.maximum(sums, 0)
        slopes: Array = np.broadcast_to(self._last, features.shape)
        for (weight, _), share in zip(reversed(self._hidden), reversed(shares), strict=True):
            slopes = np.asarray((slopes * share) @ weight.T, np.float32)
        return slopes

    def _changes(self, rng: np.random.Generator) -> list[Array]:
        """The range of each hidden layer's units, from what a random exchange changes in random architectures."""
        before = self._space.sample(PAIRS, rng)
        columns = rng.integers(0, len(self._dims), PAIRS)
        after = before.copy()
        after[np.arange(PAIRS), self._dims[columns]] = self._choices[columns]
        differ = (self._space.canonical(after) != before).any(axis=1)
        x, y = self._features(before[differ]), self._features(after[differ])
        ranges = []
        for weight, bias in self._hidden:
            x, y = x @ weight + bias, y @ weight + bias
            ranges.append(np.maximum(np.float32(WIDTH) * np.sqrt(np.mean((x - y) ** 2, axis=0)), LEAST))
            x, y = np.maximum(x, 0), np.maximum(y, 0)
        return ranges
