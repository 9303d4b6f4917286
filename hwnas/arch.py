"""An Arch: one architecture of a named space, as a value. A Population: many of them, as an integer array."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profilers.errors import InvalidInputError, shown

MAX_DIGITS = 9  # of a choice
Population = NDArray[np.intp]
"""Integer array (n, dims): which choice each of n architectures takes in each dimension of its space."""


@dataclass(frozen=True, order=True)
class Arch:
    """The chosen value of every dimension of a space; `str` and `parse` are inverse.

    >>> Arch.parse("digits:48-2-3-6")
    Arch(space='digits', values=(48, 2, 3, 6))
    """

    space: str
    values: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.space}:{'-'.join(map(str, self.values))}"

    @classmethod
    def parse(cls, text: str) -> "Arch":
        """The arch that `text` spells; raises InvalidInputError."""
        space, colon, values = text.rpartition(":")
        numbers = values.split("-")
        if not (
            space
            and colon
            and all(number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS for number in numbers)
        ):
            raise InvalidInputError(f"{shown(text)} is no architecture: one is spelled like digits:48-2-3-6")
        return cls(space, tuple(map(int, numbers)))
