"""Ridge regression: accuracy as a weighted sum of features. The best where few subnets are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwnas.search.accuracy.features import Array
from lut.compiled import Floats

STRENGTHS = 10.0 ** np.arange(-2, 3.5, 0.5)


@dataclass(frozen=True, eq=False)
class Ridge:
    """`weights` (width,), and the accuracy where all features are zero."""

    weights: Floats
    intercept: Floats  # (), as all arrays of regressors are arrays

    @classmethod
    def fit(cls, features: Array, accuracies: Floats) -> Self:
        """The strength that leaves out one subnet at a time with the least error."""
        from sklearn.linear_model import RidgeCV

        fitted = RidgeCV(STRENGTHS).fit(features.astype(np.float64), accuracies)
        return cls(fitted.coef_, np.array(fitted.intercept_))

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], width: int) -> Self:
        """What `arrays` gave; raises KeyError or ValueError if these are no arrays of one for `width` features."""
        found = cls(arrays["weights"], arrays["intercept"])
        if found.weights.shape != (width,) or found.intercept.shape != ():
            raise ValueError(f"weights of shape {found.weights.shape} do not fit {width} features")
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The regressor as arrays by name."""
        return {"weights": self.weights, "intercept": self.intercept}

    def __call__(self, features: Array) -> Floats:
        """Accuracies, (n,)."""
        # A sum along rows: of a product with a vector, BLAS rounds the last few rows in another order.
        return np.asarray((features * self.weights).sum(axis=1) + self.intercept)

    @property
    def layers(self) -> tuple[tuple[Array, Array]]:
        """The same as one linear layer."""
        return ((self.weights[:, None].astype(np.float32), self.intercept[None].astype(np.float32)),)
