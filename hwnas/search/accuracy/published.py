"""The published accuracy predictor of once-for-all's MobileNetV3 space (Cai et al. 2020), from its arrays.

It takes 60 inputs for kernels (20 blocks of 3, 5, 7), 60 for expansions (3, 4, 6) and 8 for image sizes (112 to 224
in steps of 16), all one-hot; a block that a stage's depth leaves out has zeros. It gives ImageNet top-1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Population
from hwnas.search.accuracy.features import Array, Features
from hwnas.search.accuracy.gains import ExchangeGains
from hwnas.search.accuracy.perceptron import Perceptron
from hwnas.space import SearchSpace
from lut.compiled import Floats
from profilers.errors import InvalidInputError, shown

SPACE, CLASSES = "ofa-mbv3@1.2", 1000
SIZES = range(112, 225, 16)
MARK = "0.weight"  # an array that files of this kind have
LAYERS = (0, 2, 4, 6)  # ReLU is counted, too
EXPANDS, IMAGES, INPUTS = 60, 120, 128  # the first input of expansions, the first of image sizes, and all


@dataclass(frozen=True, eq=False)
class PublishedPredictor:
    """The published predictor over our rows; its held-out figures are not known for these data."""

    space: SearchSpace
    regressor: Perceptron

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], space: SearchSpace) -> "PublishedPredictor":
        """From the published arrays, `0.weight` to `6.bias`.

        Raises InvalidInputError for another space, KeyError or ValueError if these are not the arrays.
        """
        foreign = [hw for hw in space.resolutions if hw not in SIZES]
        if space.name != SPACE or space.classes != CLASSES or foreign:
            raise InvalidInputError(
                f"the published accuracy predictor is of {SPACE} with {CLASSES} classes at resolutions {SIZES[0]} to "
                f"{SIZES[-1]} in steps of {SIZES.step}, not of {space.name} with {space.classes} classes at "
                f"{','.join(map(str, space.resolutions))}: choose among these, or take a predictor of that space"
            )
        first = arrays[MARK]
        if first.ndim != 2 or first.shape[1] != INPUTS:
            of_resnet = " (it is the one of once-for-all's ResNet50 space)" if first.shape[1:] == (82,) else ""
            raise ValueError(f"{MARK} has shape {first.shape}, not (units, {INPUTS}){of_resnet}")
        foreign_arrays = set(arrays) - {f"{n}.{part}" for n in LAYERS for part in ("weight", "bias")}
        if foreign_arrays:
            raise ValueError(f"it has {len(foreign_arrays)} other arrays, like {shown(min(foreign_arrays))}")
        layers = {f"weight{i}": arrays[f"{n}.weight"].T for i, n in enumerate(LAYERS)}
        layers |= {f"bias{i}": arrays[f"{n}.bias"] for i, n in enumerate(LAYERS)}
        layers["weight0"], images = _for_our_features(layers["weight0"], space)
        layers["bias0"] = layers["bias0"] + images
        return cls(space, Perceptron.of(layers, len(layers["weight0"])))

    def __call__(self, population: Population) -> Floats:
        """Predicted ImageNet top-1 of n architectures, (n,)."""
        return self._features.score(self.regressor, population)

    @cached_property
    def gains(self) -> ExchangeGains:
        """What each single exchange of a choice should gain."""
        return ExchangeGains(self._features, self.regressor.layers)

    def facts(self) -> dict[str, Any]:
        """What is known of it, under the names that `--json` has for them."""
        return {"kind": "published", "data": "ImageNet"}

    def describe(self) -> str:
        """One line for people."""
        return f"the published predictor of ImageNet top-1 for {SPACE}"

    @cached_property
    def _features(self) -> Features:
        return Features(self.space)


def _for_our_features(weight: Array, space: SearchSpace) -> tuple[Array, Array]:
    """The first layer's weights (inputs, units) in the order of our features, and what to add to its bias.

    Depths and MACs have no weight. Where there is one image size only, our features leave it out; so the first size
    becomes part of the bias, and the others' weights what they differ by.
    """
    columns, block = [], 0
    smallest = weight[IMAGES + SIZES.index(space.resolutions[0])]
    for dimension in space.dimensions:
        choices = len(dimension.choices)
        if dimension.name == "resolution":
            columns.append(weight[[IMAGES + SIZES.index(hw) for hw in dimension.choices]] - smallest)
        elif dimension.name.endswith(".kernel"):
            columns.append(weight[block * choices :][:choices])
        elif dimension.name.endswith(".expand"):
            columns.append(weight[EXPANDS + block * choices :][:choices])
            block += 1
        else:
            columns.append(np.zeros((choices, weight.shape[1]), np.float32))
    return np.concatenate([*columns, np.zeros((1, weight.shape[1]), np.float32)]), smallest
