"""BlockPredictor: what blocks cost that were never measured, learned from those that were, and how sure that is.

A block takes what a roofline says (operations, MACs and bytes, each kind at the device's own price) times a correction,
whose logarithm is a Gaussian process over the block's features. It is never used unasked: `Predicted` prices with it
and says which blocks were guessed.
"""

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lut.blocks import Block
from lut.features import features, work
from lut.gaussian_process import GaussianProcess
from lut.table import LatencyTable
from profilers.errors import InvalidInputError

Floats = NDArray[np.float64]
LEAST_BLOCKS = 20
FOLDS = 10
LEAST_SHARE = 0.03  # of a typical block's time, for each term of the roofline: none of them is free


class BlockPredictor:
    """Predicts times of blocks, with intervals that are as wide as held-out errors say.

    >>> predictor = BlockPredictor.of_table(table)
    >>> predictor.block_ms(block)                               # 0.31
    >>> predictor.interval_ms([block], confidence=90)           # [[0.29, 0.34]]
    """

    def __init__(self, blocks: Sequence[Block], ms: Sequence[float]) -> None:
        self._blocks, self._ms = tuple(blocks), np.asarray(ms, float)
        self._model = _Model.fit(self._blocks, self._ms)

    @classmethod
    def fit(cls, blocks: Sequence[Block], ms: Sequence[float]) -> "BlockPredictor":
        """Learn from blocks and their times; raises InvalidInputError for fewer than 20 or for times not above 0."""
        if len(blocks) < LEAST_BLOCKS:
            raise InvalidInputError(
                f"predicting blocks needs {LEAST_BLOCKS} measured ones and has {len(blocks)}: profile more of them"
            )
        if not all(0 < time < float("inf") for time in ms):
            raise InvalidInputError("predicting blocks needs times above 0 ms: measure the others again")
        return cls(blocks, ms)

    @classmethod
    def of_table(cls, table: LatencyTable) -> "BlockPredictor":
        """Learn from all blocks of a table; raises InvalidInputError if it has too few."""
        blocks = list(table.blocks())
        return cls.fit(blocks, [table.block_ms(block) for block in blocks])

    def block_ms(self, block: Block) -> float:
        """Predicted time of a block in ms, above 0."""
        return float(self.blocks_ms([block])[0])

    def blocks_ms(self, blocks: Sequence[Block]) -> Floats:
        """Predicted times in ms, (n,)."""
        return np.asarray(np.exp(self._model.predict(blocks)[0]))

    def interval_ms(self, blocks: Sequence[Block], confidence: float = 90.0) -> Floats:
        """Lower and upper end in ms, (n, 2), of what holds the true time in `confidence` percent of cases.

        Each measured block was predicted by a model that had not seen it; the quantile of how many standard deviations
        it was off is the half-width for a new block (cross-validated conformal prediction, normalised scores). The plus
        form (Barber et al. 2021, section 3) covered about 94 % on measured tables where 90 were asked, this one 91.
        Raises InvalidInputError if so high a confidence wants more measured blocks.
        """
        count = len(self._ms)
        rank = int(np.ceil(confidence / 100 * (count + 1)))
        if not 0 < confidence < 100 or rank > count:
            raise InvalidInputError(
                f"{count} measured blocks support no interval of {confidence:g} %: ask for less, or measure more"
            )
        mean, deviation = self._model.predict(blocks)
        margin = np.sort(self._held_out.scores)[rank - 1] * deviation
        return np.asarray(np.exp(np.stack([mean - margin, mean + margin], axis=1)))

    @property
    def errors_pct(self) -> Floats:
        """By how many percent each measured block was predicted wrong by a model that had not seen it, (n,)."""
        return np.asarray(100 * (np.exp(self._held_out.logs) / self._ms - 1))

    @cached_property
    def _held_out(self) -> "_HeldOut":
        # Folds by a checksum of the key: as good as random, and the same whatever the order of the blocks.
        order = np.argsort([zlib.crc32(block.key.encode()) for block in self._blocks], kind="stable")
        logs, deviations = np.empty(len(order)), np.empty(len(order))
        for fold in range(FOLDS):
            asked = order[fold::FOLDS]
            kept = np.setdiff1d(order, asked)
            model = _Model.fit([self._blocks[i] for i in kept], self._ms[kept], self._model)
            logs[asked], deviations[asked] = model.predict([self._blocks[i] for i in asked])
        return _HeldOut(logs, np.abs(logs - np.log(self._ms)) / deviations)


class Predicted:
    """A table's times of blocks, predicted where none was measured; `used` collects the blocks that were guessed."""

    def __init__(self, table: LatencyTable) -> None:
        self._table = table
        self.predictor = BlockPredictor.of_table(table)
        self.used: set[Block] = set()

    def block_ms(self, block: Block) -> float:
        """Time of a block in ms, measured or predicted."""
        if not self._table.missing([block]):
            return self._table.block_ms(block)
        self.used.add(block)
        return self.predictor.block_ms(block)

    def doubt_ms(self, block: Block, confidence_pct: float) -> float:
        """How much more a guessed block may take: from its prediction to the upper end of its interval."""
        ((_, upper_ms),) = self.predictor.interval_ms([block], confidence_pct)
        return max(float(upper_ms) - self.predictor.block_ms(block), 0.0)


class _HeldOut(NamedTuple):
    """What models that had not seen them say of the measured blocks."""

    logs: Floats  # predicted log ms, (n,)
    scores: Floats  # errors in predicted standard deviations, (n,)


class _Model(NamedTuple):
    """A roofline, and a Gaussian process of the log of what it is off by."""

    prices: Floats  # ms for one of each kind of `work`
    process: GaussianProcess

    @classmethod
    def fit(cls, blocks: Sequence[Block], ms: Floats, like: "_Model | None" = None) -> "_Model":
        """Least squares on relative errors, then the process; its search begins where that of `like` ended."""
        from scipy.optimize import lsq_linear  # which takes half a second, and most commands have no need of it

        per_ms = work(blocks) / ms[:, None]
        typical = per_ms.mean(axis=0)
        typical[typical == 0] = 1  # pools alone have no MACs
        prices = lsq_linear(per_ms / typical, np.ones(len(ms)), (LEAST_SHARE, np.inf)).x / typical
        target = np.log(ms) - np.log(work(blocks) @ prices)
        return cls(prices, GaussianProcess.fit(features(blocks), target, like.process.logs if like else None))

    def predict(self, blocks: Sequence[Block]) -> tuple[Floats, Floats]:
        """Mean and standard deviation of log ms, (n,) each."""
        mean, deviation = self.process.predict(features(blocks))
        return mean + np.log(work(blocks) @ self.prices), deviation
