"""Recipes for training a supernet: one file each, with `build() -> Recipe`. The file's name is the recipe's."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from torch import Tensor

from hwnas.nets.supernet import Supernet
from profilers import plugins


class Recipe(Protocol):
    """Which subnets one optimizer step trains, and by what loss."""

    def backward(
        self, net: Supernet, images: Tensor, labels: Tensor, progress: float, rng: np.random.Generator
    ) -> Mapping[str, float]:
        """Add one step's gradients to the net's parameters and return the losses by name.

        `progress` goes from 0 to 1 over the training; all randomness comes from `rng`.
        """
        ...


def names() -> tuple[str, ...]:
    """The recipes there are."""
    return plugins.names(__name__)


def open_recipe(name: str) -> Recipe:
    """The recipe `name`; raises UnknownNameError."""
    recipe: Recipe = plugins.load(__name__, "recipe", name).build()
    return recipe
