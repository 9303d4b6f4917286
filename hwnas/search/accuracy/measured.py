"""Accuracies that are measured, not predicted, under the interface of accuracy models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwnas.arch import Arch, Population
from hwnas.space import SearchSpace
from lut.compiled import Floats


@dataclass(frozen=True, eq=False)
class MeasuredAccuracy:
    """Judges one architecture after the other; that each is judged once is the judge's concern.

    >>> model = MeasuredAccuracy(space, evaluator.validation_accuracy, {"supernet": evaluator.trained.sha256})
    """

    space: SearchSpace
    judge: Callable[[Arch], float]
    made_from: Mapping[str, str] = field(default_factory=dict)
    gains: None = None  # what an exchange gains is known when it is measured

    def __call__(self, population: Population) -> Floats:
        """Accuracies of n architectures, (n,)."""
        return np.array([self.judge(self.space.arch(row)) for row in population], np.float64)

    def facts(self) -> dict[str, Any]:
        """What is known of it, under the names that `--json` has for them."""
        return {"kind": "measured", **self.made_from}

    def describe(self) -> str:
        """One line for people."""
        return "measured on the supernet"
