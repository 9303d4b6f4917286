"""Pricing a space: the latency model its table supports, and the whole nets that the model is calibrated on."""

from collections.abc import Callable, Mapping

import numpy as np

from hwnas import costs
from hwnas.arch import Arch, Population
from hwnas.space import SearchSpace
from lut.compiled import Compiled
from lut.interpolation import SizeInterpolation
from lut.latency_model import Guess, LatencyModel
from lut.predictor import Predicted
from lut.published import PUBLISHED
from lut.table import LatencyTable
from profilers.errors import InvalidInputError, UnknownNameError

GUESSES: Mapping[str, Callable[[LatencyTable], Guess]] = {"sizes": SizeInterpolation, "blocks": Predicted}
"""Times at image sizes between measured ones, and of any blocks like the measured ones."""
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
        near = [int(i) for i in np.argsort(np.abs(macs - target), kind="stable") if i not in chosen]
        near = near[:1] if target in (macs.min(), macs.max()) else near[:NEAR]
        apart = [min((np.abs(shape[i] - shape[j]).sum() for j in chosen), default=0.0) for i in near]
        chosen.append(near[int(np.argmax(apart))])
    return pool[chosen]


def net_name(what: Arch | str) -> str:
    """What a whole net is called in a table; of a space's name, how the names of all its nets begin."""
    return f"net {what}" if isinstance(what, Arch) else f"net {what}:"


def profile_command(device: str, runtime: str, precision: str, space: SearchSpace) -> str:
    """The command that measures what a table lacks, spelled out so that it is this table that gets it."""
    resolutions = ",".join(map(str, space.resolutions))
    return (
        f"hwnas profile --device {device} --runtime {runtime} --precision {precision} --space {space.name} "
        f"--resolution {resolutions}"
    )


def latency_model(table: LatencyTable, space: SearchSpace, guess: str | None = None) -> LatencyModel:
    """The latency model a table supports; raises InvalidInputError naming what lacks and the command for it.

    Blocks that were not measured are priced only where that is asked for, by a `guess` named in GUESSES, or where the
    table says that it was transferred from other devices; the model lists them.
    """
    if guess is not None and guess not in GUESSES:
        raise UnknownNameError("way to guess", guess, GUESSES)
    device = table.fingerprint
    remedy = f"measure with: {profile_command(table.device_name, device.runtime, device.precision, space)}"
    if device.runtime == PUBLISHED:
        remedy = "import the file of the resolution that lacks, or choose among those that are there with --resolution"
    missing = table.missing(space.vocabulary)
    transferred = table.transfers.get(net_name(space.name))
    if missing and transferred and all(map(transferred.covers, space.vocabulary)):
        return table.compile(space, transferred.calibration, transferred)
    if missing and not guess:
        raise InvalidInputError(
            f"{table.path} lacks {len(missing)} of the {len(space.vocabulary)} blocks of {space.name}, "
            f"e.g. {missing[0].key}; {remedy}"
        )
    try:
        calibration = table.calibration(net_name(space.name))
        return table.compile(space, calibration, GUESSES[guess](table) if guess else None)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}; {remedy}") from error
