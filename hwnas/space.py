"""A SearchSpace: which architectures there are, and which blocks each of them consists of.

A space says two things: its table of `dimensions`, and `layers(arch)`. Vocabulary, canonical form, sampling and
the encoding for predictors are all derived from these two, exactly and once, through `factors`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Arch, Population
from hwnas.canonical import Canonical
from hwnas.deciding import Bools, Deciding
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


@dataclass(frozen=True)
class Columns:
    """All dimensions' choices side by side, a column each, as `encode` has them."""

    first: NDArray[np.intp]  # (dims,), the column of each dimension's first choice
    dims: NDArray[np.intp]  # (columns,), the dimension
    choices: NDArray[np.intp]  # (columns,), which of its choices


class SearchSpace(ABC):
    """The architectures a supernet holds. A subclass sets the attributes and overrides `layers`."""

    name: str
    dimensions: tuple[Dimension, ...]
    classes: int
    image_chs: int
    resolutions: tuple[int, ...]
    norm_eps: float = 1e-5  # what batch norm adds to variances

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
    def columns(self) -> Columns:
        """Where each choice stands among those of all dimensions."""
        first, dims = np.cumsum([0, *self.sizes[:-1]]), np.repeat(np.arange(len(self.sizes)), self.sizes)
        return Columns(first, dims, np.arange(len(dims)) - first[dims])

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        """Every slot's block as a table over the dimensions the slot depends on."""
        slots = list(self.layers(self.largest))
        dims = [tuple(i for i, d in enumerate(self.dimensions) if slot in d.slots) for slot in slots]
        return tuple(map(Factor, slots, dims, self._blocks(slots, dims)))

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
        return self._canonical(population)

    def encode(self, population: Population) -> NDArray[np.float64]:
        """One-hot choices, (n, sum of sizes), for predictors; choices that decide nothing are all zeros."""
        one_hot = [np.eye(size)[population[:, dim]] for dim, size in enumerate(self.sizes)]
        return np.concatenate(one_hot, axis=1) * self.deciding(population).repeat(self.sizes, axis=1)

    @cached_property
    def deciding(self) -> Deciding:
        """Which choices of a population decide anything: `deciding(population)` is (n, dims)."""
        return Deciding(self.sizes, self._deciding)

    def _blocks(self, slots: Sequence[str], dims: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
        """Every slot's blocks; one architecture shows one of each slot, and is chosen so that most of them are new."""
        blocks = [np.empty([self.sizes[dim] for dim in of], object) for of in dims]
        unseen = [dict.fromkeys(np.ndindex(each.shape)) for each in blocks]
        while any(unseen):
            row = np.full(len(self.dimensions), -1)
            for of, cells in zip(dims, unseen, strict=True):
                chosen = row[list(of)].tolist()
                agreeing = (cell for cell in cells if all(c in (-1, i) for c, i in zip(chosen, cell, strict=True)))
                row[list(of)] = next(agreeing, chosen)
            row = np.maximum(row, 0)
            layers = self.layers(self.arch(row))
            for slot, of, each, cells in zip(slots, dims, blocks, unseen, strict=True):
                cell = tuple(row[list(of)].tolist())
                each[cell] = layers.get(slot)
                cells.pop(cell, None)
        return blocks

    @cached_property
    def _canonical(self) -> Canonical:
        return Canonical(self._deciding)

    @cached_property
    def _deciding(self) -> list[list[tuple[tuple[int, ...], Bools]]]:
        """For each dimension: the dimensions of the slots it takes part in, and where it changes their block."""
        return [
            [(factor.dims, ~factor.same(factor.dims.index(dim))) for factor in self.factors if dim in factor.dims]
            for dim in range(len(self.dimensions))
        ]
