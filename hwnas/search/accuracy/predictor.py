"""An AccuracyPredictor: fitted on subnets whose accuracy was measured, it scores whole populations at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from hwnas.arch import Arch, Population
from hwnas.search.accuracy.boosting import Boosting
from hwnas.search.accuracy.features import Features
from hwnas.search.accuracy.gains import ExchangeGains
from hwnas.search.accuracy.perceptron import Perceptron
from hwnas.search.accuracy.ridge import Ridge
from hwnas.space import SearchSpace
from lut.compiled import Floats
from profilers.errors import InvalidInputError, UnknownNameError

LEAST_EVALUATIONS = 20
FOLDS = 5
Regressor = Ridge | Boosting | Perceptron
KINDS: dict[str, type[Regressor]] = {"boosting": Boosting, "mlp": Perceptron, "ridge": Ridge}
"""No kind is the best everywhere. Held-out errors in % of accuracy, of boosting, mlp and ridge: 0.64, 0.60, 0.72 on
125 subnets of `digits`, 0.53, 0.40, 0.50 on 356 (an accuracy measured there is itself uncertain by 0.9); 0.36, 0.25,
0.21 on 300 nets of `ofa-mbv3@1.2` as the published predictor judges them."""


@dataclass(frozen=True, eq=False)
class AccuracyPredictor:
    """A regressor on one-hot choices and the logarithm of MACs, and how well it does.

    `rmse` and `kendall_tau` are of predictions for subnets that were held out (5 folds).
    """

    space: SearchSpace
    kind: str
    regressor: Regressor
    rmse: float
    kendall_tau: float
    subnets: int  # it was fitted on
    made_from: Mapping[str, str] = field(default_factory=dict)  # what the accuracies are of: supernet, data

    @classmethod
    def fit(
        cls,
        space: SearchSpace,
        evaluations: Mapping[Arch, float],
        kind: str = "boosting",
        made_from: Mapping[str, str] | None = None,
    ) -> "AccuracyPredictor":
        """Fit on accuracies by architecture; raises InvalidInputError for fewer than 20, UnknownNameError for kinds."""
        from scipy.stats import kendalltau

        if kind not in KINDS:
            raise UnknownNameError("accuracy predictor", kind, KINDS)
        if len(evaluations) < LEAST_EVALUATIONS:
            raise InvalidInputError(
                f"an accuracy predictor needs {LEAST_EVALUATIONS} evaluated subnets and has {len(evaluations)}"
            )
        archs = sorted(evaluations)
        features = Features(space)(np.stack([space.row(arch) for arch in archs]))
        accuracies = np.array([evaluations[arch] for arch in archs])
        fold = np.random.default_rng(0).permutation(len(archs)) % FOLDS
        held_out = np.empty(len(archs))
        with threadpool_limits(1, user_api="blas"):  # so that the last bits do not depend on how many there are
            for out in (fold == number for number in range(FOLDS)):
                held_out[out] = KINDS[kind].fit(features[~out], accuracies[~out])(features[out])
            regressor = KINDS[kind].fit(features, accuracies)
        tau = float(kendalltau(held_out, accuracies).statistic)
        return cls(
            space=space,
            kind=kind,
            regressor=regressor,
            rmse=float(np.sqrt(np.mean((held_out - accuracies) ** 2))),
            kendall_tau=tau if np.isfinite(tau) else 0.0,  # where all are equal there is no order to find
            subnets=len(archs),
            made_from=made_from or {},
        )

    @classmethod
    def fit_all(
        cls, space: SearchSpace, evaluations: Mapping[Arch, float], made_from: Mapping[str, str] | None = None
    ) -> "list[AccuracyPredictor]":
        """One of every kind, that of least held-out error first; raises InvalidInputError as `fit` does."""
        return sorted((cls.fit(space, evaluations, kind, made_from) for kind in KINDS), key=lambda model: model.rmse)

    def __call__(self, population: Population) -> Floats:
        """Predicted accuracies of n architectures, (n,)."""
        return self._features.score(self.regressor, population)

    @cached_property
    def gains(self) -> ExchangeGains | None:
        """What each single exchange of a choice should gain; trees do not tell."""
        return None if isinstance(self.regressor, Boosting) else ExchangeGains(self._features, self.regressor.layers)

    def facts(self) -> dict[str, Any]:
        """What is known of it, under the names that `--json` has for them."""
        return {
            "kind": self.kind,
            "rmse": self.rmse,
            "kendall_tau": self.kendall_tau,
            "subnets": self.subnets,
            **self.made_from,
        }

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.kind} on {self.subnets} subnets, held-out error {100 * self.rmse:.2f} %, "
            f"Kendall's tau {self.kendall_tau:.2f}"
        )

    @cached_property
    def _features(self) -> Features:
        return Features(self.space)
