"""Features of a block: what its time may depend on, counted from the very operations it is wired from.

Sizes enter as logarithms, because times are ratios of sizes; counts and switches as they are.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lut.blocks import Block, chain
from lut.layers import shape_only
from profilers.graph import Step

Floats = NDArray[np.float64]
SMALL_MACS = 1e4  # below this, MACs take less time than the call of an operation
FLOAT_BYTES = 4


def features(blocks: Sequence[Block]) -> Floats:
    """One row a block, (n, 18)."""
    return np.array([_features(block) for block in blocks])


def work(blocks: Sequence[Block]) -> Floats:
    """What bounds each block's time, (n, 5): operations, dense and depthwise MACs, bytes of values and of weights.

    (The roofline of Williams et al. 2009, by kinds that devices do at different speeds.)
    """
    return np.array([_work(block) for block in blocks])


@cache
def _features(block: Block) -> tuple[float, ...]:
    steps = _steps(block)
    convs = [step.operation for step in steps if step.operation.weight is not None]
    kernel = max((_kernel(step) for step in steps), default=1)
    depthwise = sum(_macs(step) for step in steps if step.operation.groups > 1)
    logs = (
        block.in_chs, block.out_chs, max(step.output.shape[1] for step in steps), block.hw, block.out_hw, kernel,
        1 + (block.macs - depthwise) / SMALL_MACS, 1 + depthwise / SMALL_MACS, sum(map(_bytes, steps)),
        1 + block.params,
    )  # fmt: skip
    counts = (
        # Runtimes have their own code for small kernels: one took 20 times as long for 7x7 as for 5x5 in int8.
        kernel >= 5, kernel >= 7,
        max((op.stride for op in convs), default=1), len(steps), sum(step.operation.kind == "mul" for step in steps),
        *(sum(step.act == act for step in steps) for act in ("relu", "hswish", "hsigmoid")),
    )  # fmt: skip
    return (*np.log(logs).tolist(), *map(float, counts))


@cache
def _work(block: Block) -> tuple[float, ...]:
    steps = _steps(block)
    depthwise = sum(_macs(step) for step in steps if step.operation.groups > 1)
    weights = FLOAT_BYTES * sum(step.operation.weight.size for step in steps if step.operation.weight is not None)
    counts = len(steps), block.macs - depthwise, depthwise, sum(map(_bytes, steps)) - weights, weights
    return tuple(map(float, counts))


def _steps(block: Block) -> list[Step]:
    return chain([(block, shape_only)]).steps()


def _kernel(step: Step) -> int:
    weight = step.operation.weight
    return 1 if weight is None or weight.ndim == 2 else weight.shape[2]


def _macs(step: Step) -> int:
    weight, shape = step.operation.weight, step.output.shape
    return 0 if weight is None else weight.size * int(np.prod(shape[2:]))


def _bytes(step: Step) -> int:
    """Of inputs, output and weight, each touched once, as float32."""
    weight = step.operation.weight
    tensors = [value.shape for value in (*step.operation.inputs, step.output)] + (
        [] if weight is None else [weight.shape]
    )
    return FLOAT_BYTES * sum(int(np.prod(shape)) for shape in tensors)
