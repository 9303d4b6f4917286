"""Recipes for training a supernet: one file each, with `build() -> Recipe`. The file's name is the recipe's.

A recipe that must do more than add gradients is `Staged`, `Finishing` or `Remembering`, too: the loop looks which.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from hwnas.nets.supernet import Supernet
from profilers import plugins


class Recipe(Protocol):
    """Which subnets one optimizer step trains, and by what loss."""

    def backward(
        self, net: Supernet, images: Tensor, labels: Tensor, progress: float, rng: np.random.Generator
    ) -> Mapping[str, float]:
        """Add one step's gradients to the net's parameters and return the losses by name, the same names each step.

        Images are (B, C, H, W) at the space's largest resolution; each subnet gets them at its own. Labels are (B,),
        or probabilities (B, classes) where they were smoothed or mixed. `progress` goes from 0 to 1 over the
        training; all randomness comes from `rng`.
        """
        ...


@runtime_checkable
class Staged(Protocol):
    """A recipe whose training has phases."""

    def lr_scale(self, progress: float) -> float:
        """What the schedule's learning rate is multiplied with."""
        ...

    def begin(self, net: Supernet, before: float, after: float) -> bool:
        """Prepare the net for a step that takes progress from `before` to `after`; called before every step.

        True if single weights have changed places: momentum and averages of weights then begin anew.
        """
        ...


@runtime_checkable
class Finishing(Protocol):
    """A recipe whose last phase is what a finished net is trained further by; others begin from progress 0 again."""

    last_phase: float  # the progress at which it begins


@runtime_checkable
class Remembering(Protocol):
    """A recipe that keeps something from step to step, which a resumed run needs, too."""

    def state(self) -> dict[str, Tensor]:
        """All it remembers, by name; empty before the first step."""
        ...

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave; raises ValueError if this cannot be that."""
        ...


def names() -> tuple[str, ...]:
    """The recipes there are."""
    return plugins.names(__name__)


def open_recipe(name: str) -> Recipe:
    """The recipe `name`; raises UnknownNameError."""
    recipe: Recipe = plugins.load(__name__, "recipe", name).build()
    return recipe
