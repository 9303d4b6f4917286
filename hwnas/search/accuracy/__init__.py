"""Accuracy models: from architectures to accuracies, whole populations at once.

Fitted ones (`AccuracyPredictor`), the published one of once-for-all, and measuring itself have one interface.
"""

from collections.abc import Callable
from typing import Any, Protocol

from hwnas.arch import Population
from hwnas.search.accuracy.measured import MeasuredAccuracy
from hwnas.search.accuracy.predictor import KINDS, AccuracyPredictor
from hwnas.search.accuracy.storage import open_accuracy, save_accuracy
from hwnas.space import SearchSpace
from lut.compiled import Floats

__all__ = ["KINDS", "AccuracyModel", "AccuracyPredictor", "MeasuredAccuracy", "open_accuracy", "save_accuracy"]


class AccuracyModel(Protocol):
    """What a search scores architectures with.

    >>> model = open_accuracy(path, space)
    >>> model(population)                       # (n,) float64; each depends on its own row alone
    """

    @property
    def space(self) -> SearchSpace:
        """The space whose architectures it knows."""
        ...

    def __call__(self, population: Population) -> Floats:
        """Accuracies of n architectures, (n,), as shares of 1."""
        ...

    @property
    def gains(self) -> Callable[[Population], Floats] | None:
        """From n architectures to what each single exchange of a choice should gain, about, (n, choices).

        None where that is not known without scoring them.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Its kind and what is known of it, under the names that `--json` has for them."""
        ...

    def describe(self) -> str:
        """One line for people."""
        ...
