"""A multi-layer perceptron as arrays, and fast: tens of thousands of architectures in a fraction of a second."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from hwnas.search.accuracy.features import Array
from lut.compiled import Floats

HIDDEN = (32,)
BATCH = 48  # architectures a product: as many as annealing has at a time, and what is between layers stays in cache


@cache
def _blas() -> ThreadpoolController:
    """What numpy multiplies matrices with; to look for it takes as long as to score a hundred architectures."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Matrices are multiplied by one thread: for small products a second one gains little, and where a neighbour uses
    the other core they wait for each other (15 to 30 times slower)."""
    limited: AbstractContextManager[object] = _blas().limit(limits=1, user_api="blas")
    return limited


@dataclass(frozen=True, eq=False)
class Perceptron:
    """Layers of weights (inputs, outputs) and biases (outputs,), ReLU between them, one output."""

    layers: tuple[tuple[Array, Array], ...]

    @classmethod
    def fit(cls, features: Array, accuracies: Floats) -> Self:
        """One hidden layer, fitted with L-BFGS; scales of features and accuracies become part of the weights."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        spread[spread == 0] = 1  # a choice that nothing was seen of, or nothing else
        middle, scale = accuracies.mean(), accuracies.std()
        fitted = MLPRegressor(hidden_layer_sizes=HIDDEN, solver="lbfgs", alpha=3.0, max_iter=100, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # where it stops is part of how it generalises
            fitted.fit((features - mean) / spread, (accuracies - middle) / (scale or 1))
        weights, biases = list(fitted.coefs_), list(fitted.intercepts_)
        biases[0] = biases[0] - (mean / spread) @ weights[0]
        weights[0] = weights[0] / spread[:, None]
        weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale + middle
        return cls(tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in zip(weights, biases, strict=True)))

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], width: int) -> Self:
        """What `arrays` gave; raises KeyError or ValueError if these are no layers for `width` features."""
        count = max(len(arrays) // 2, 1)
        layers = [(arrays[f"weight{i}"], arrays[f"bias{i}"]) for i in range(count)]
        chain = [width, *(bias.size for _, bias in layers)]
        if chain[-1] != 1 or any(
            w.shape != sizes or b.shape != sizes[1:] for (w, b), sizes in zip(layers, pairwise(chain), strict=True)
        ):
            raise ValueError(
                f"its layers {[w.shape for w, _ in layers]} do not lead from {width} features to one number"
            )
        return cls(tuple((np.ascontiguousarray(w, np.float32), b.astype(np.float32)) for w, b in layers))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The regressor as arrays by name."""
        named = [((f"weight{i}", w), (f"bias{i}", b)) for i, (w, b) in enumerate(self.layers)]
        return dict(pair for pairs in named for pair in pairs)

    def __call__(self, features: Array) -> Floats:
        """Accuracies, (n,); each depends on its own features alone, but for roundings of float32, below 1e-6.

        BLAS picks its kernel, and with it the order of sums, by the shape of a product (OpenBLAS 0.3.31: other last
        bits for 1 to 3 rows), so all products have one shape. On some CPUs (Haswell, Zen) the order depends on the
        row's place in the product as well.
        """
        *hidden, (last, bias) = self.layers
        accuracies = np.empty(len(features))
        buffers = [np.empty((BATCH, len(b)), np.float32) for _, b in hidden]
        with one_thread():
            for first in range(0, len(features), BATCH):
                x = _padded(features[first : first + BATCH])
                for (weight, b), buffer in zip(hidden, buffers, strict=True):
                    x = np.maximum(np.add(np.matmul(x, weight, out=buffer), b, out=buffer), 0, out=buffer)
                accuracies[first : first + BATCH] = (x * last[:, 0]).sum(axis=1)[: len(accuracies) - first]
        return accuracies + float(bias[0])


def _padded(features: Array) -> Array:
    """BATCH rows, with zeros where there are fewer."""
    return np.pad(features, ((0, BATCH - len(features)), (0, 0))) if len(features) < BATCH else features
