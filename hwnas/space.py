"""A SearchSpace: which architectures there are, and which blocks each of them consists of.

A space says two things: its table of `dimensions`, and `layers(arch)`. Vocabulary, canonical form, sampling and
the encoding for predictors are all derived from these two, exactly and once, through `factors`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Arch, Population
from lut.blocks import Block
from profilers.errors import InvalidInputError


@dataclass(frozen=True)
class Dimension:
    """One decision: its choices, smallest first, and the slots whose block may depend on it."""

    name: str
    choices: tuple[int, ...]
    slots: tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """A slot and its block for every combination of the dimensions it depends on; None where it is left out."""

    slot: str
    dims: tuple[int, ...]
    blocks: NDArray[Any]  # of Block | None; one axis for each of dims

    def same(self, axis: int) -> NDArray[np.bool_]:
        """Where the block is the same for all choices along `axis`, shaped like `blocks`."""
        first = np.take(self.blocks, [0], axis=axis)
        equal = np.asarray(self.blocks == first, bool).all(axis=axis, keepdims=True)
        return np.broadcast_to(equal, self.blocks.shape)


class SearchSpace(ABC):
    """The architectures a supernet holds. A subclass sets the attributes and overrides `layers`."""

    name: str
    dimensions: tuple[Dimension, ...]
    classes: int
    image_chs: int
    resolutions: tuple[int, ...]

    @abstractmethod
    def layers(self, arch: Arch) -> dict[str, Block]:
        """The blocks of an architecture by slot, in the order they run."""

    @abstractmethod
    def resolution(self, arch: Arch) -> int:
        """Height and width of the images an architecture takes."""

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many choices each dimension has."""
        return tuple(len(dimension.choices) for dimension in self.dimensions)

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        """Every slot's block as a table over the dimensions the slot depends on."""
        slots = list(self.layers(self.largest))
        dims = {s: tuple(i for i, d in enumerate(self.dimensions) if s in d.slots) for s in slots}
        return tuple(Factor(slot, dims[slot], self._blocks(slot, dims[slot])) for slot in slots)

    @cached_property
    def vocabulary(self) -> tuple[Block, ...]:
        """Every distinct block that any architecture may contain."""
        found = (block for factor in self.factors for block in factor.blocks.flat if block is not None)
        return tuple(dict.fromkeys(found))

    @cached_property
    def smallest(self) -> Arch:
        """The architecture with the first choice everywhere."""
        return self.arch(np.zeros(len(self.dimensions), np.intp))

    @cached_property
    def largest(self) -> Arch:
        """The architecture with the last choice everywhere."""
        return self.arch(np.array(self.sizes) - 1)

    def arch(self, row: Population) -> Arch:
        """The architecture that one row of a population stands for."""
        values = (dimension.choices[int(i)] for dimension, i in zip(self.dimensions, row, strict=True))
        return Arch(self.name, tuple(values))

    def row(self, arch: Arch) -> Population:
        """The row of a population that stands for `arch`; raises InvalidInputError if it is not of this space."""
        if arch.space != self.name:
            raise InvalidInputError(f"{arch} is an architecture of {arch.space}, not of {self.name}")
        if len(arch.values) != len(self.dimensions):
            raise InvalidInputError(f"{arch} has {len(arch.values)} values; {self.name} has {len(self.dimensions)}")
        for dimension, value in zip(self.dimensions, arch.values, strict=True):
            if value not in dimension.choices:
                raise InvalidInputError(f"{arch}: {dimension.name} is {value}, not one of {dimension.choices}")
        return np.array([d.choices.index(v) for d, v in zip(self.dimensions, arch.values, strict=True)], np.intp)

    def parse(self, text: str) -> Arch:
        """The architecture `text` spells, in canonical form; raises InvalidInputError."""
        return self.arch(self.canonical(self.row(Arch.parse(text))[None])[0])

    def sample(self, count: int, rng: np.random.Generator) -> Population:
        """Architectures with every choice drawn evenly, in canonical form."""
        return self.canonical(rng.integers(0, self.sizes, (count, len(self.sizes))))

    def canonical(self, population: Population) -> Population:
        """Equal networks made equal rows: choices that decide nothing become the first one."""
        population = np.array(population, np.intp)
        for dim in range(len(self.dimensions)):
            population[~self._decides(population, dim), dim] = 0
        return population

    def encode(self, population: Population) -> NDArray[np.float64]:
        """One-hot choices, (n, sum of sizes), for predictors; choices that decide nothing are all zeros."""
        parts = []
        for dim, size in enumerate(self.sizes):
            one_hot = np.eye(size)[population[:, dim]]
            parts.append(one_hot * self._decides(population, dim)[:, None])
        return np.concatenate(parts, axis=1)

    def _blocks(self, slot: str, dims: tuple[int, ...]) -> NDArray[Any]:
        shape = tuple(self.sizes[dim] for dim in dims)
        blocks = np.empty(shape, object)
        row = np.zeros(len(self.dimensions), np.intp)
        for choice in product(*map(range, shape)):
            row[list(dims)] = choice
            blocks[choice] = self.layers(self.arch(row)).get(slot)
        return blocks

    @cached_property
    def _deciding(self) -> tuple[tuple[tuple[Factor, NDArray[np.bool_]], ...], ...]:
        """For each dimension: the factors it takes part in, and where it changes their block."""
        return tuple(
            tuple((f, ~f.same(f.dims.index(dim))) for f in self.factors if dim in f.dims)
            for dim in range(len(self.dimensions))
        )

    def _decides(self, population: Population, dim: int) -> NDArray[np.bool_]:
        decides = np.zeros(len(population), bool)
        for factor, where in self._deciding[dim]:
            decides |= where[tuple(population[:, d] for d in factor.dims)]
        return decides
