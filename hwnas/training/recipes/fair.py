"""Strict fairness: every choice of every dimension is trained equally often (FairNAS, Chu et al. 2021, section 3.2).

A step trains as many subnets as the largest number of choices. Together they take each choice of a dimension once,
in random order; their gradients are added up, and one update is made.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hwnas.arch import Population
from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.training.objective import learn

NONE = -1  # fills up the rows of the tensor of decks


class Fair:
    """Deals each dimension's choices from a shuffled deck without replacement; a new one follows when it is used up.

    Where the number of choices divides the number of subnets, a step uses up its decks. Else a rest stays in
    the deck for the next step, so that no choice is ever ahead of another by more than one.
    """

    def __init__(self) -> None:
        self._decks: list[list[int]] = []

    def backward(
        self,
        net: Supernet,
        images: Tensor,
        labels: Tensor,
        progress: float,  # noqa: ARG002 - all steps are alike
        rng: np.random.Generator,
    ) -> Mapping[str, float]:
        """Add one step's gradients: images (B, C, H, W), labels (B,) or (B, classes)."""
        losses = [learn(net, net.space.arch(row), images, labels) for row in self._dealt(net.space, rng)]
        return {"random": sum(losses) / len(losses)}

    def state(self) -> dict[str, Tensor]:
        """The rests of the decks, a row each."""
        if not self._decks:
            return {}
        length = max(1, *map(len, self._decks))
        return {"decks": torch.tensor([deck + [NONE] * (length - len(deck)) for deck in self._decks])}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the rests of decks; raises ValueError if there are none."""
        if tensors and tensors.keys() != {"decks"}:
            raise ValueError(f"decks of choices are wanted, not {', '.join(tensors)}")
        self._decks = [[c for c in deck if c != NONE] for deck in tensors["decks"].tolist()] if tensors else []

    def _dealt(self, space: SearchSpace, rng: np.random.Generator) -> Population:
        """A step's subnets, (largest number of choices, dims)."""
        count = max(space.sizes)
        self._decks = self._decks or [[] for _ in space.sizes]
        for deck, size in zip(self._decks, space.sizes, strict=True):
            while len(deck) < count:
                deck.extend(rng.permutation(size).tolist())
        rows = np.array([deck[:count] for deck in self._decks]).T
        self._decks = [deck[count:] for deck in self._decks]
        return rows


def build() -> Fair:
    """The recipe with unopened decks."""
    return Fair()
