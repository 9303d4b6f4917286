"""Matching: the space, and its width multiplier, that blocks of somebody else's belong to, by their channel counts.

Kernels, expansions, image sizes and the number of classes do not count: a table may lack some of each.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress

from hwnas.space import SearchSpace
from hwnas.spaces import names, open_space
from lut.blocks import Block, Linear
from profilers.errors import HwnasError

WIDTHS = sorted((step / 20 for step in range(2, 41)), key=lambda width: (len(f"{width:g}"), abs(width - 1)))
"""0.1 to 2; of those whose channels round to the same numbers, the plainest is taken."""

Shape = tuple[str, int, int, str]


def space_of_table(blocks: Collection[Block], asked: SearchSpace | None = None) -> str:
    """The space, as users spell it, all of whose channel counts a table has, `asked` if that is one; "" if none is."""
    given = {_shape(block) for block in blocks}
    if asked and _shapes(asked) <= given:
        return asked.name
    return next((space.name for space in _spaces() if _shapes(space) <= given), "")


def space_of_network(blocks: Collection[Block]) -> str:
    """The space, as users spell it, that has all channel counts of a network; "" if there is none."""
    given = {_shape(block) for block in blocks}
    return next((space.name for space in _spaces() if given <= _shapes(space)), "")


def _spaces() -> Iterator[SearchSpace]:
    for width in WIDTHS:
        for name in names():
            with suppress(HwnasError):  # a space may not have every width
                yield open_space(f"{name}@{width:g}")


def _shapes(space: SearchSpace) -> set[Shape]:
    return {_shape(block) for block in space.layers(space.largest).values()}


def _shape(block: Block) -> Shape:
    out_chs = 0 if isinstance(block, Linear) else block.out_chs
    return block.kind, block.in_chs, out_chs, getattr(block, "act", "")
