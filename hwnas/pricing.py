"""Additive costs of architectures: a number a block, summed; whole populations at once, and the least exactly.

MACs and parameters are of this kind, and so is a calibrated latency: a constant, and what each block adds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Arch, Population
from hwnas.space import SearchSpace
from lut.blocks import Block
from lut.calibration import Calibration
from lut.interpolation import SizeInterpolation
from lut.table import PUBLISHED, LatencyTable
from profilers.errors import InvalidInputError

Floats = NDArray[np.float64]
NEAR = 12  # candidates within about a quarter of a step of MACs


class AdditiveCost:
    """The sum of `cost(block)` over an architecture's blocks.

    >>> macs = AdditiveCost(space, lambda block: block.macs)
    >>> macs(population)                                        # an array, one gather
    >>> least, arch = macs.least()                              # exact, over the whole space
    """

    def __init__(self, space: SearchSpace, cost: Callable[[Block], float]) -> None:
        self._space = space
        self._tables = [
            np.array([0.0 if block is None else cost(block) for block in f.blocks.flat]).reshape(f.blocks.shape)
            for f in space.factors
        ]
        strides = np.zeros((len(space.dimensions), len(space.factors)))
        for column, factor in enumerate(space.factors):
            for axis, dim in enumerate(factor.dims):
                strides[dim, column] = np.prod(factor.blocks.shape[axis + 1 :])
        self._strides = strides
        self._offsets = np.cumsum([0, *(table.size for table in self._tables[:-1])])
        self._flat = np.concatenate([table.ravel() for table in self._tables])

    def __call__(self, population: Population) -> Floats:
        """Costs of n architectures, (n,)."""
        # Through float64, because integer matrix products have no BLAS; the indices are small and exact.
        indices = (population.astype(np.float64) @ self._strides).astype(np.intp) + self._offsets
        return np.asarray(self._flat[indices].sum(axis=1))

    def least(self) -> tuple[float, Arch]:
        """The least attainable cost and an architecture that attains it, by min-sum variable elimination.

        Every slot's table is a function of few dimensions; a dimension is minimised out of the sum of the tables
        it takes part in, the cheapest first (Dechter 1999, bucket elimination). Exact, and independent of order.
        """
        tables = [(factor.dims, table) for factor, table in zip(self._space.factors, self._tables, strict=True)]
        remaining, steps = set(range(len(self._space.dimensions))), []
        while remaining:
            dim = min(remaining, key=lambda d: (_joined_size(tables, d, self._space.sizes), d))
            dims, joined = _join([t for t in tables if dim in t[0]], dim, self._space.sizes)
            steps.append((dim, dims, joined.argmin(axis=-1)))
            tables = [t for t in tables if dim not in t[0]] + [(dims, joined.min(axis=-1))]
            remaining.remove(dim)
        row = np.zeros(len(self._space.dimensions), np.intp)
        for dim, dims, best in reversed(steps):
            row[dim] = best[tuple(row[list(dims)])]
        row = self._space.canonical(row[None])[0]
        return float(self(row[None])[0]), self._space.arch(row)


def _joined_size(tables: list[tuple[tuple[int, ...], Floats]], dim: int, sizes: tuple[int, ...]) -> int:
    dims = {d for dims, _ in tables if dim in dims for d in dims}
    return math.prod(sizes[d] for d in dims)


def _join(
    tables: list[tuple[tuple[int, ...], Floats]], dim: int, sizes: tuple[int, ...]
) -> tuple[tuple[int, ...], Floats]:
    """Sum of tables over the union of their dimensions, `dim` as the last axis; returns the other dimensions."""
    others = tuple(sorted({d for dims, _ in tables for d in dims} - {dim}))
    joined = np.zeros([sizes[d] for d in (*others, dim)])
    for dims, table in tables:
        order = sorted(range(len(dims)), key=lambda axis: (*others, dim).index(dims[axis]))
        shape = [sizes[d] if d in dims else 1 for d in (*others, dim)]
        joined += table.transpose(order).reshape(shape)
    return others, joined


@dataclass(frozen=True)
class LatencyModel:
    """Predicted latency of a space's architectures on one device: what a table's blocks add to a net, summed."""

    added: AdditiveCost  # by each block, calibrated, in ms
    calibration: Calibration
    interpolated: frozenset[Block] = frozenset()  # blocks at sizes that were not measured

    def __call__(self, population: Population) -> Floats:
        """Latencies of n architectures in ms, (n,)."""
        return self.calibration.constant_ms + self.added(population)

    def least(self) -> tuple[float, Arch]:
        """The least attainable latency in ms and an architecture that attains it; exact."""
        least, arch = self.added.least()
        return self.calibration.constant_ms + least, arch


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
    macs, depth, params = (AdditiveCost(space, cost)(pool) for cost in (
        lambda block: block.macs, lambda _: 1, lambda block: block.params))  # fmt: skip
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


def latency_model(table: LatencyTable, space: SearchSpace, *, interpolate: bool = False) -> LatencyModel:
    """The latency model a table supports; raises InvalidInputError naming what lacks and the command for it.

    With `interpolate`, blocks at image sizes between measured ones are priced, too, and listed in the model.
    """
    device = table.fingerprint
    remedy = f"measure with: {profile_command(table.device_name, device.runtime, device.precision, space)}"
    if device.runtime == PUBLISHED:
        remedy = "a published table can be shown and compared, but prices no nets yet"
    sizes = SizeInterpolation(table) if interpolate else None
    known_ms = sizes.block_ms if sizes else table.block_ms
    missing = table.missing(space.vocabulary)
    if missing and not sizes:
        raise InvalidInputError(
            f"{table.path} lacks {len(missing)} of the {len(space.vocabulary)} blocks of {space.name}, "
            f"e.g. {missing[0].key}; {remedy}"
        )
    try:
        calibration = table.calibration(net_name(space.name))
        added = AdditiveCost(space, lambda block: calibration.block_ms((known_ms(block), block.params)))
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}; {remedy}") from error
    return LatencyModel(added, calibration, frozenset(sizes.used if sizes else ()))
