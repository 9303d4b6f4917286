"""Gaussian process regression: a smooth function known at some points, guessed elsewhere, with a standard deviation.

The covariance of two points is `1 + deviation² Matern_5/2(distance)`, where each feature has a length scale of its own
(automatic relevance determination; Rasmussen & Williams 2006, sections 4.2, 5.1 and 5.4.1), and measuring adds noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
USUAL_LENGTH = (
    3.0  # in standard deviations of a feature; log length scales have a normal prior of deviation 1 around it
)
DEVIATION, NOISE, LENGTH = (0.01, 5.0), (0.004, 0.3), (0.2, 100.0)  # bounds; targets are logarithms
MAX_STEPS = 80


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; features that do not vary among the points known are left out."""

    mean: Floats  # of the features, (d,)
    scale: Floats  # their standard deviations, (d,), infinite where a feature does not vary
    points: Floats  # what is known, standardised, (n, d)
    weights: Floats  # of the points' covariances in a prediction, (n,)
    factor: tuple[Floats, bool]  # Cholesky factor of the points' covariance
    logs: Floats  # of deviation, noise, and d length scales

    @classmethod
    def fit(cls, x: Floats, y: Floats, start: Floats | None = None) -> "GaussianProcess":
        """The most likely process behind the targets `y` (n,) at `x` (n, d), looked for from `start`, another's `logs`.

        Marginal likelihood times prior, by its gradient (Rasmussen & Williams, equations 5.8 and 5.9).
        """
        from scipy.linalg import (  # which take half a second, and most commands have no need of them
            cho_factor,
            cho_solve,
        )
        from scipy.optimize import minimize

        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-12, scale, np.inf)
        points = (x - mean) / scale
        if start is None:
            first = np.clip(y.std(), 5 * DEVIATION[0], DEVIATION[1])
            start = np.log([first, 0.02, *[USUAL_LENGTH] * x.shape[1]])
        bounds = np.log([DEVIATION, NOISE, *[LENGTH] * x.shape[1]])
        squares = (points[:, None] - points[None]) ** 2
        logs = minimize(
            _misfit, start, (squares, y), "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": MAX_STEPS}
        ).x
        factor = cho_factor(_noisy(1 + _matern(squares, logs)[0], logs), lower=True)
        return cls(mean, scale, points, cho_solve(factor, y), factor, logs)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of targets at `x` (m, d), noise included: (m,) and (m,)."""
        from scipy.linalg import cho_solve

        asked = (x - self.mean) / self.scale
        across = 1 + _matern((asked[:, None] - self.points[None]) ** 2, self.logs)[0]
        prior = 1 + np.exp(2 * self.logs[0]) + np.exp(2 * self.logs[1])
        known = (across * cho_solve(self.factor, across.T).T).sum(axis=1)
        return across @ self.weights, np.sqrt(np.maximum(prior - known, np.exp(2 * self.logs[1])))


def _matern(squares: Floats, logs: Floats) -> tuple[Floats, Floats]:
    """Covariances, and what times a feature's squared distance over its squared length is their slope in log length."""
    distance = np.sqrt(5 * (squares @ np.exp(-2 * logs[2:])))
    decay = np.exp(2 * logs[0] - distance)
    return (1 + distance + distance**2 / 3) * decay, 5 / 3 * (1 + distance) * decay


def _noisy(covariance: Floats, logs: Floats) -> Floats:
    return np.asarray(covariance + np.exp(2 * logs[1]) * np.eye(len(covariance)))


def _misfit(logs: Floats, squares: Floats, y: Floats) -> tuple[float, Floats]:
    """Negative log posterior up to a constant, and its gradient in `logs`."""
    from scipy.linalg import cho_factor, cho_solve

    matern, slope = _matern(squares, logs)
    factor = cho_factor(_noisy(1 + matern, logs), lower=True)
    inverse = cho_solve(factor, np.eye(len(y)))
    weights = inverse @ y
    off = logs[2:] - np.log(USUAL_LENGTH)
    value = y @ weights / 2 + np.log(np.diag(factor[0])).sum() + off @ off / 2
    outer = (inverse - np.outer(weights, weights)) / 2
    in_lengths = np.tensordot(outer * slope, squares, 2) * np.exp(-2 * logs[2:]) + off
    return value, np.array([2 * (outer * matern).sum(), 2 * np.trace(outer) * np.exp(2 * logs[1]), *in_lengths])
