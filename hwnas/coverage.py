"""Coverage: what a table with holes leaves of a space, in words: choices that no network can make, and sizes."""

from collections.abc import Collection, Iterator

import numpy as np

from hwnas.space import Factor, SearchSpace
from lut.blocks import Block


def left_out(space: SearchSpace, unavailable: Collection[Block]) -> list[str]:
    """The choices that a search without these blocks cannot make: `kernel 7`, or `s2b3.kernel 7` where others can.

    Single combinations of choices that are left out, of kernel and expansion say, have no name here.
    """
    found: dict[str, list[str]] = {}
    everywhere: dict[str, int] = {}
    for dim, dimension in enumerate(space.dimensions):
        kind = dimension.name.rpartition(".")[2]
        everywhere[kind] = everywhere.get(kind, 0) + 1
        for number, choice in enumerate(dimension.choices):
            if any(_empty(factor, dim, number, unavailable) for factor in space.factors if dim in factor.dims):
                found.setdefault(f"{kind} {choice}", []).append(f"{dimension.name} {choice}")
    sizes = [f"resolution {hw}" for hw in space.resolutions]
    if all(name in found for name in sizes):
        return sizes  # and nothing is left to choose
    whole = {name for name, where in found.items() if len(where) == everywhere[name.rpartition(" ")[0]]}
    return [text for name, where in found.items() for text in ([name] if name in whole else where)]


def _empty(factor: Factor, dim: int, choice: int, unavailable: Collection[Block]) -> bool:
    """Whether a choice always leads to a block that is not available in one slot."""
    blocks = np.take(factor.blocks, [choice], axis=factor.dims.index(dim)).flat
    needed = [block for block in blocks if block is not None]
    return bool(needed) and all(block in unavailable for block in needed)


def complete_resolutions(space: SearchSpace, unavailable: Collection[Block]) -> list[int]:
    """The image sizes at which every block of the space is available."""
    return [hw for hw, blocks in _by_resolution(space) if not any(block in unavailable for block in blocks)]


def _by_resolution(space: SearchSpace) -> Iterator[tuple[int, list[Block]]]:
    dim = next((dim for dim, dimension in enumerate(space.dimensions) if dimension.name == "resolution"), None)
    for number, hw in enumerate(space.resolutions if dim is not None else ()):
        found = list[Block]()
        for factor in space.factors:
            at = np.take(factor.blocks, [number], axis=factor.dims.index(dim)) if dim in factor.dims else factor.blocks
            found += [block for block in at.flat if block is not None]
        yield hw, found
