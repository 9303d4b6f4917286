"""Search spaces: one file each, with `build(width, resolutions, classes)`. The file's name is the space's.

Users write `NAME` or `NAME@WIDTH`, e.g. `ofa-mbv3@1.2`.
"""

from dataclasses import dataclass

from hwnas.space import SearchSpace
from profilers import plugins
from profilers.errors import InvalidInputError

MOST_CLASSES = 100_000  # five times ImageNet-21k's; a head for as many takes half a gigabyte


def names() -> tuple[str, ...]:
    """The spaces there are."""
    return plugins.names(__name__)


@dataclass(frozen=True)
class SpaceInfo:
    """What a list of spaces says of one, at width 1 and with its own resolutions and classes."""

    name: str
    summary: str  # one line
    image_chs: int
    resolutions: tuple[int, ...]
    classes: int
    blocks: int  # that a table of it holds
    macs: tuple[float, float]  # of the smallest and of the largest network


def listing() -> tuple[SpaceInfo, ...]:
    """Every space with what its images must be, sorted by name."""
    return tuple(_info(name) for name in names())


def _info(name: str) -> SpaceInfo:
    space, summary = open_space(name), plugins.summary(__name__, "space", name)
    macs = tuple(float(sum(b.macs for b in space.layers(arch).values())) for arch in (space.smallest, space.largest))
    return SpaceInfo(
        name, summary, space.image_chs, space.resolutions, space.classes, len(space.vocabulary), (macs[0], macs[1])
    )


def open_space(spec: str, *, resolutions: tuple[int, ...] = (), classes: int | None = None) -> SearchSpace:
    """The space a user asked for as `NAME` or `NAME@WIDTH`.

    `resolutions` and `classes` replace the space's own where given. Raises UnknownNameError for the name and
    InvalidInputError for the rest.
    """
    name, at, factor = spec.partition("@")
    module = plugins.load(__name__, "space", name)
    try:
        width = float(factor) if at else 1.0
    except ValueError:
        width = float("nan")
    if not 0 < width <= 10:
        raise InvalidInputError(f"{spec!r}: the width behind @ is a number above 0, at most 10, like ofa-mbv3@1.2")
    if any(not 8 <= hw <= 4096 for hw in resolutions):
        raise InvalidInputError(f"resolutions are whole numbers of pixels from 8 to 4096, not {resolutions}")
    if classes is not None and not 1 <= classes <= MOST_CLASSES:
        raise InvalidInputError(f"a network tells from 1 to {MOST_CLASSES} classes apart here, not {classes}")
    space: SearchSpace = module.build(width, tuple(sorted(set(resolutions))), classes)
    return space
