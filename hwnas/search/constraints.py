"""Constraints: costs of an architecture that must not exceed their limits. Hard, always, and all at once."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Population
from lut.compiled import Compiled, Floats


@dataclass(frozen=True)
class Constraint:
    """`cost` must be at most `limit`; messages give both in `unit`, which is `per_unit` of what they are counted in."""

    name: str
    cost: Compiled
    limit: float
    unit: str = ""
    per_unit: float = 1.0

    def met(self, population: Population) -> NDArray[np.bool_]:
        """Which of n architectures meet the constraint, (n,)."""
        return np.asarray(self.cost(population) <= self.limit)

    def told(self, value: float) -> str:
        """A limit or cost for people, not below the value: what is told to be attainable is."""
        scaled = value / self.per_unit
        digits = 3 - math.floor(math.log10(abs(scaled))) if scaled else 0
        return f"{math.ceil(round(scaled * 10**digits, 6)) / 10**digits:.10g} {self.unit}".rstrip()

    def loose(self) -> bool:
        """Whether every architecture meets the constraint."""
        return self.cost.greatest() <= self.limit


@dataclass(frozen=True)
class Constraints:
    """Constraints that hold together; none at all is met by everything."""

    all: tuple[Constraint, ...] = ()

    def met(self, population: Population) -> NDArray[np.bool_]:
        """Which of n architectures meet every constraint, (n,)."""
        met = np.ones(len(population), bool)
        for constraint in self.all:
            met &= constraint.met(population)
        return met

    def excess(self, population: Population) -> Floats:
        """By how much of a limit n architectures exceed the one they exceed most, (n,); at most 0 where all are met."""
        excess = np.full(len(population), -np.inf)
        for constraint in self.all:
            scale = abs(constraint.limit) or 1.0  # there is no share of nothing: of two the smaller exceeds it by less
            excess = np.maximum(excess, (constraint.cost(population) - constraint.limit) / scale)
        return excess
