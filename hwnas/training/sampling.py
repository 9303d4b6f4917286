"""Architectures that need about as many MACs as is wanted."""

from functools import lru_cache

import numpy as np

from hwnas import costs
from hwnas.arch import Arch
from hwnas.space import SearchSpace
from lut.compiled import Compiled

POOL = 512
LEANING = 6.0  # at 2**6 nearly every choice of a candidate is the smallest, at 2**-6 the largest


def near_macs(space: SearchSpace, wanted: float, rng: np.random.Generator) -> Arch:
    """An architecture whose MACs are nearest to `wanted`, of a pool that reaches from the smallest to the largest.

    Uniform samples crowd in the middle of a space; so each candidate prefers small or large choices.
    """
    leaning = 2.0 ** rng.uniform(-LEANING, LEANING, (POOL, 1))
    rows = (rng.random((POOL, len(space.sizes))) ** leaning * space.sizes).astype(np.intp)
    nearest = np.abs(macs_of(space)(rows) - wanted).argmin()
    return space.arch(space.canonical(rows[nearest][None])[0])


def of_like_macs(space: SearchSpace, count: int, rng: np.random.Generator) -> list[Arch]:
    """Architectures of about the same MACs, and these as evenly drawn choices have them."""
    (macs,) = macs_of(space)(space.sample(1, rng))
    return [near_macs(space, macs, rng) for _ in range(count)]


@lru_cache(maxsize=4)
def macs_of(space: SearchSpace) -> Compiled:
    """The MACs of a space's architectures, compiled once: every step of a training asks for them."""
    return costs.macs(space)
