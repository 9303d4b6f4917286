"""Pricing a space: the latency model its table supports, and the whole nets that the model is calibrated on."""

import math
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from hwnas import costs
from hwnas.arch import Arch, Population
from hwnas.coverage import complete_resolutions, left_out
from hwnas.matching import space_of_table
from hwnas.space import SearchSpace
from lut.blocks import Block
from lut.compiled import Compiled
from lut.interpolation import SizeInterpolation
from lut.latency_model import Guess, LatencyModel
from lut.predictor import Predicted
from lut.published import PUBLISHED
from lut.table import LatencyTable, MissingBlockError
from profilers.errors import InvalidInputError, UnknownNameError

GUESSES: Mapping[str, Callable[[LatencyTable], Guess]] = {"sizes": SizeInterpolation, "blocks": Predicted}
"""Times at image sizes between measured ones, and of any blocks like the measured ones."""
NAMED = 6  # choices that a message lists
NEAR = 12  # candidates within about a quarter of a step of MACs


def evenly_spread(space: SearchSpace, count: int, rng: np.random.Generator) -> Population:
    """`count` distinct architectures whose MACs go from the least to the most in even steps, (count, dims).

    Uniform samples crowd in the middle of a space, where sums of many choices meet; what is fitted on them has
    to extrapolate to the fast and the slow nets that budgets ask for. Among the candidates near a step, the one is
    taken whose depth and parameters differ most from those taken before: few nets are to tell these effects apart.
    """
    candidates = 50 * count
    leaning = 2.0 ** rng.uniform(-3, 3, (candidates, 1))  # each candidate prefers small or large choices
    sizes = np.array(space.sizes)
    rows = (rng.random((candidates, len(sizes))) ** leaning * sizes).astype(np.intp)
    ends = np.stack([space.row(space.smallest), space.row(space.largest)])
    pool = np.unique(space.canonical(np.concatenate([ends, rows])), axis=0)
    macs, params, depth = (cost(pool) for cost in (
        costs.macs(space), costs.params(space), Compiled.of(space, lambda _: 1)))  # fmt: skip
    shape = np.stack([depth / depth.max(), params / params.max()], axis=1)
    chosen: list[int] = []
    for target in np.linspace(macs.min(), macs.max(), count):
        wanted = 1 if target in (macs.min(), macs.max()) else NEAR
        nearest = np.argsort(np.abs(macs - target), kind="stable")[: wanted + len(chosen)].tolist()
        near = [i for i in nearest if i not in chosen][:wanted]
        apart = [min((np.abs(shape[i] - shape[j]).sum() for j in chosen), default=0.0) for i in near]
        chosen.append(near[int(np.argmax(apart))])
    return pool[chosen]


def net_name(what: Arch | str) -> str:
    """What a whole net is called in a table; of a space's name, how the names of all its nets begin."""
    return f"net {what}" if isinstance(what, Arch) else f"net {what}:"


def profile_command(device: str, runtime: str, precision: str, space: SearchSpace, data: str = "") -> str:
    """The command that measures what a table lacks, spelled out so that it is this table that gets it.

    `data` is the data set that the space's classes are of, where it is known.
    """
    resolutions = ",".join(map(str, space.resolutions))
    return (
        f"hwnas profile --device {device} --runtime {runtime} --precision {precision} --space {space.name} "
        f"--resolution {resolutions}" + (f" --data {shlex.quote(data)}" if data else "")
    )


def latency_model(
    table: LatencyTable,
    space: SearchSpace,
    guess: str | None = None,
    *,
    needed: Collection[Block] | None = None,
    data: str = "",
) -> LatencyModel:
    """The latency model a table supports; raises InvalidInputError naming what lacks and what to do about it.

    Blocks that were not measured are priced only where that is asked for, by a `guess` named in GUESSES, or where the
    table says that it was transferred from other devices; the model lists them. Of all others only those that are
    `needed`, by default all of the space, must have a time; the rest is unavailable, at an infinite cost. `data` is the
    data set that the space's classes are of, for the advice.
    """
    if guess is not None and guess not in GUESSES:
        raise UnknownNameError("way to guess", guess, GUESSES)
    wanted = space.vocabulary if needed is None else needed
    missing = table.missing(wanted)
    transferred = table.transfers.get(net_name(space.name))
    if missing and transferred and all(map(transferred.covers, wanted)):
        return table.compile(space, transferred.calibration, transferred, wanted)
    if not (wanted or guess) and table.fingerprint.runtime == PUBLISHED and not _prices_any(table, space):
        remedy = _remedy(table, space, table.missing(space.vocabulary), data)
        raise InvalidInputError(f"{table.path} prices no network of {space.name}; {remedy}")
    if missing and not guess:
        asked_for = "" if needed is None else " that are asked for"
        raise InvalidInputError(_lacks(table, space, missing, len(wanted), data, asked_for))
    try:
        calibration = table.calibration(net_name(space.name))
        return table.compile(space, calibration, GUESSES[guess](table) if guess else None, wanted)
    except InvalidInputError as error:
        missing = list(error.blocks) if isinstance(error, MissingBlockError) else []
        raise InvalidInputError(f"{error}; {_remedy(table, space, missing, data)}") from error


def check_complete(table: LatencyTable, space: SearchSpace, data: str = "") -> None:
    """Raise InvalidInputError, which says what to do, if a table lacks blocks of the space."""
    if missing := table.missing(space.vocabulary):
        raise InvalidInputError(_lacks(table, space, missing, len(space.vocabulary), data))


def _lacks(
    table: LatencyTable, space: SearchSpace, missing: Sequence[Block], wanted: int, data: str, asked_for: str = ""
) -> str:
    return (
        f"{table.path} lacks {len(missing)} of the {wanted} blocks of {space.name}{asked_for}, e.g. {missing[0].key}"
        f"{_choices(space, missing)}; {_remedy(table, space, missing, data)}"
    )


def _prices_any(table: LatencyTable, space: SearchSpace) -> bool:
    """Whether there is a network of the space all of whose blocks have a time."""
    missing = set(table.missing(space.vocabulary))
    return Compiled.of(space, lambda block: math.inf if block in missing else 0.0).least()[0] < math.inf


def _choices(space: SearchSpace, missing: Collection[Block]) -> str:
    """What no architecture can have without these blocks, in brackets."""
    names = left_out(space, set(missing))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f" (all of {', '.join(names[:NAMED])}{more})" if names else ""


def _remedy(table: LatencyTable, space: SearchSpace, missing: Sequence[Block], data: str) -> str:
    """What to do about a table that lacks these blocks."""
    device = table.fingerprint
    if device.runtime != PUBLISHED:
        command = profile_command(table.device_name, device.runtime, device.precision, space, data)
        return f"measure with: {command}"
    if (likely := space_of_table(list(table.blocks()), space)) not in ("", space.name):
        return f"its channel counts are those of {likely}: give --space {likely}, or import a table of {space.name}"
    if len(space.resolutions) > 1 and (complete := complete_resolutions(space, set(missing))):
        return f"choose what is there with --resolution {','.join(map(str, complete))}, or import the file that lacks"
    if left_out(space, set(missing)) == [f"resolution {hw}" for hw in space.resolutions]:
        return "import the file of the resolution that lacks, or choose among those that are there with --resolution"
    return "import a file that has them, or search with --available among architectures that do without"
