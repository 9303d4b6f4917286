"""Transfer: what everything costs on a new device, from a few samples and the tables of other devices.

A latency is a sum over parts (blocks, or a space's choices), and the logarithms of the parts' costs are a Gaussian
process over devices: its mean is that of the source devices; devices differ in level, along the directions in which
the sources differ, and smoothly over the parts' features. So one measured sum says something about every part.

    prior = Prior.learn(features, costs_ms)           # parts x quantities, parts x source devices
    chosen = prior.choose(offered, 10, wanted)        # which sums to measure, before any is
    posterior = prior.update(offered[chosen], measured_ms)
    posterior.predict(wanted).interval_ms(90)

A sum is a row of counts, one a part: a block alone is a row of the unit matrix, a whole net has many parts.

Logarithms, because costs are positive and devices differ by factors: a sum is then not linear, and the posterior is
Laplace's approximation (Rasmussen and Williams 2006, section 3.4). How noisy the device is, and how far it may be from
the sources, is not known: hypotheses about it are weighed by their evidence (MacKay 1992). Samples are chosen for the
least mean variance of what is wanted, greedily (I-optimal design, Chaloner and Verdinelli 1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from profilers.errors import InvalidInputError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Tuned on published latencies of nine devices, each predicted from the others, with and without its relatives.
SMOOTH, REACH = 0.4, 2.0  # parts whose features are a factor e^2 apart deviate by 40 % nearly independently
TREND = 0.2  # deviation that follows the features' logarithms
OWN = 0.05  # deviation of each part by itself
LEVEL = 1.0  # nothing is known of how fast the device is
NOISE = 0.03  # of a sample, while it is not known
NOISES, FACTORS = (0.003, 0.01, 0.03, 0.1), (0.5, 1.0, 2.0)
NEGLIGIBLE = 0.01  # weight of a hypothesis that is dropped
STEPS = 12  # of Gauss and Newton; five are usual, more only where a hypothesis is far from the truth
SHARES = (1.0, 0.5, 0.2, 0.05, 0.0)  # of a step: a full one may overshoot, because costs are exponentials
SETTLED = 0.001  # a smaller change of the logarithm of the posterior density is none


@dataclass(frozen=True)
class Prediction:
    """Latencies of n sums in ms, and their standard deviations, that of a measurement included."""

    ms: Floats
    sd_ms: Floats

    def interval_ms(self, confidence: float = 90.0) -> Floats:
        """Lower and upper end in ms, (n, 2), of what holds a measured latency in `confidence` percent of cases."""
        spread = np.sqrt(np.log1p((self.sd_ms / self.ms) ** 2))  # of the lognormal with this mean and deviation
        factor = np.exp(NormalDist().inv_cdf((1 + confidence / 100) / 2) * spread)
        return np.stack([self.ms / factor, self.ms * factor], axis=1)


@dataclass(frozen=True)
class Belief:
    """Parts' log costs as a Gaussian, and the relative noise of a sample."""

    log_ms: Floats  # (parts,)
    covariance: Floats  # (parts, parts)
    noise: float

    def choose(self, offered: Floats, count: int, wanted: Floats) -> Ints:
        """The `count` rows of `offered` to measure next for the least mean relative variance of `wanted`'s rows."""
        if not 0 < count <= len(offered):
            raise InvalidInputError(
                f"{count} samples cannot be chosen from {len(offered)}: offer more, or ask for less"
            )
        offered, wanted = self._relative(offered), self._relative(wanted)
        target, covariance = wanted.T @ wanted / len(wanted), self.covariance
        chosen: list[int] = []
        for _ in range(count):
            reached = offered @ covariance
            variance = np.einsum("np,np->n", reached, offered) + self.noise**2
            gain = np.einsum("np,np->n", reached @ target, reached) / variance
            gain[chosen] = -np.inf
            best = int(gain.argmax())
            chosen.append(best)
            covariance = covariance - np.outer(reached[best], reached[best]) / variance[best]
        return np.array(chosen, np.intp)

    def predict(self, rows: Floats) -> Prediction:
        """Latencies of sums, `rows` (n, parts)."""
        ms = rows @ np.exp(self.log_ms)
        relative = self._relative(rows)
        variance = np.einsum("np,np->n", relative @ self.covariance, relative) + self.noise**2
        return Prediction(ms, ms * np.sqrt(np.maximum(variance, 0)))

    def _relative(self, rows: Floats) -> Floats:
        """Shares of the parts in each sum: how its relative change follows from theirs, (n, parts)."""
        shares = rows * np.exp(self.log_ms)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Posterior:
    """What is believed after samples: hypotheses with their weights, which sum to one, the likeliest first."""

    beliefs: tuple[Belief, ...]
    weights: Floats

    def choose(self, offered: Floats, count: int, wanted: Floats) -> Ints:
        """The rows of `offered` to measure next, by the likeliest hypothesis."""
        return self.beliefs[0].choose(offered, count, wanted)

    def latency_ms(self, rows: Floats) -> Floats:
        """Latencies of sums, `rows` (n, parts), without deviations: far faster than `predict`."""
        return np.asarray(rows @ np.exp([belief.log_ms for belief in self.beliefs]).T @ self.weights)

    def predict(self, rows: Floats) -> Prediction:
        """Latencies of sums, `rows` (n, parts): mean and deviation of the mixture."""
        found = [belief.predict(rows) for belief in self.beliefs]
        ms = np.array([prediction.ms for prediction in found])
        variances = np.array([prediction.sd_ms**2 for prediction in found])
        mean = self.weights @ ms
        return Prediction(mean, np.sqrt(self.weights @ (variances + (ms - mean) ** 2)))


@dataclass(frozen=True)
class Prior:
    """What the sources let expect of a new device's log costs, (parts,), with the two ways of deviating from it."""

    log_ms: Floats
    like_sources: Floats  # covariance along the directions in which the sources differ
    smooth: Floats  # covariance by the parts' features

    @classmethod
    def learn(cls, features: Floats, costs_ms: Floats) -> Prior:
        """From physical quantities >= 0 of each part, (parts, quantities), and its costs, (parts, sources).

        Quantities count by their logarithms, so units do not matter. Raises InvalidInputError for costs not above 0.
        """
        if len(features) != len(costs_ms):
            raise InvalidInputError(
                f"features are of {len(features)} parts, costs of {len(costs_ms)}: give both of the same"
            )
        if not (np.isfinite(costs_ms).all() and (costs_ms > 0).all()):
            raise InvalidInputError("a source's cost is not above 0 ms: leave the part out, or measure it again")
        logs = np.log(costs_ms)
        levels = logs.mean(axis=0)
        logs = logs - levels
        mean = logs.mean(axis=1)
        differing = logs - mean[:, None]
        return cls(mean + levels.mean(), differing @ differing.T / max(1, logs.shape[1] - 1), _smooth(features))

    def belief(self, noise: float = NOISE, like_sources: float = 1.0, smooth: float = 1.0) -> Belief:
        """The Gaussian under one hypothesis: factors on the standard deviations of the two ways of deviating."""
        covariance = LEVEL**2 + like_sources**2 * self.like_sources + smooth**2 * self.smooth
        return Belief(self.log_ms, covariance, noise)

    def choose(self, offered: Floats, count: int, wanted: Floats) -> Ints:
        """The `count` rows of `offered` to measure first."""
        return self.belief().choose(offered, count, wanted)

    def update(self, rows: Floats, measured_ms: Floats) -> Posterior:
        """What to believe once sums, `rows` (k, parts), were measured, (k,) in ms."""
        if not (np.isfinite(measured_ms).all() and (measured_ms > 0).all()):
            raise InvalidInputError("a measured latency is not above 0 ms: measure it again")
        log_level = float(np.log(measured_ms.mean() / (rows @ np.exp(self.log_ms)).mean()))
        here = Prior(self.log_ms + log_level, self.like_sources, self.smooth)
        fits = [_laplace(here.belief(*settings), rows, measured_ms) for settings in product(NOISES, FACTORS, FACTORS)]
        evidence = np.array([fit[1] for fit in fits])
        weights = np.exp(evidence - evidence.max())
        weights /= weights.sum()
        kept = [int(i) for i in np.argsort(-weights, kind="stable") if weights[i] > NEGLIGIBLE]
        return Posterior(tuple(fits[i][0] for i in kept), weights[kept] / weights[kept].sum())


def _smooth(features: Floats) -> Floats:
    """Covariance of deviations by features: a smooth function of their logarithms, a linear one, and each its own."""
    least = np.array([column[column > 0].min(initial=np.inf) for column in features.T])
    logs = np.log1p(features / np.where(np.isfinite(least), least, 1.0))
    scaled = logs / REACH
    distance = np.square(scaled[:, None] - scaled[None]).sum(axis=2)
    spread = logs.std(axis=0)
    trends = (logs - logs.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    linear = trends @ trends.T / max(1, trends.shape[1])
    return np.asarray(SMOOTH**2 * np.exp(-distance / 2) + TREND**2 * linear + OWN**2 * np.eye(len(features)))


def _laplace(prior: Belief, rows: Floats, measured_ms: Floats) -> tuple[Belief, float]:
    """The Gaussian at the likeliest log costs, by damped Gauss-Newton, and the logarithm of the evidence."""
    rows, measured = rows / measured_ms[:, None], np.ones(len(rows))  # relative errors
    noise = prior.noise**2 * np.eye(len(rows))

    def misfit(pull: Floats) -> float:
        errors = measured - rows @ np.exp(prior.log_ms + prior.covariance @ pull)
        return float(errors @ errors / prior.noise**2 + pull @ prior.covariance @ pull) / 2

    pull, now = np.zeros(len(prior.log_ms)), np.inf  # log costs are prior.log_ms + covariance @ pull
    for _ in range(STEPS):
        moved = prior.covariance @ pull
        slopes = rows * np.exp(prior.log_ms + moved)
        wanted = measured - slopes.sum(axis=1) + slopes @ moved
        full = slopes.T @ np.linalg.solve(slopes @ prior.covariance @ slopes.T + noise, wanted)
        pull = min((pull + share * (full - pull) for share in SHARES), key=misfit)
        before, now = now, misfit(pull)
        if before - now < SETTLED:
            break
    logs = prior.log_ms + prior.covariance @ pull
    slopes = rows * np.exp(logs)
    reached = slopes @ prior.covariance
    total = reached @ slopes.T + noise
    covariance = prior.covariance - reached.T @ np.linalg.solve(total, reached)
    evidence = -now - np.linalg.slogdet(total)[1] / 2
    return Belief(logs, covariance, prior.noise), float(evidence)
