"""Parts: what latencies are sums of, as physical quantities; and what they cost, read off whole nets' latencies.

A predictor that has seen few parts of a device, or none, knows the others by these quantities.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lut.blocks import Block, MBConv
from lut.layers import Layer

Floats = NDArray[np.float64]

FITS = 6  # of reweighted least squares; weights change little after three
ALLOWED = 0.5  # relative deviation of a part from what its quantities say
LEAST = 0.1  # of that, which no part costs less than: logarithms are taken of costs
FREE = 0.01  # of the mean part, which the quantities may not say less than of any
EXACT = 0.001  # relative deviation that is not told from none
OUTLIER = 2.0  # standard deviations from which on a net counts less (Huber 1964)


def layer_quantities(layers: Sequence[Layer]) -> tuple[float, ...]:
    """Dense MACs, depthwise MACs, parameters, values read and written, operations, largest kernel."""
    macs = [(layer.macs, layer.groups == layer.in_chs == layer.out_chs) for layer in layers]
    moved = sum(layer.in_chs * (layer.out_hw * layer.stride) ** 2 + layer.out_chs * layer.out_hw**2 for layer in layers)
    return (
        float(sum(count for count, depthwise in macs if not depthwise)),
        float(sum(count for count, depthwise in macs if depthwise)),
        float(sum(layer.params for layer in layers)),
        float(moved),
        float(len(layers)),
        float(max((layer.kernel for layer in layers), default=1)),
    )


@cache
def block_quantities(block: Block) -> tuple[float, ...]:
    """`layer_quantities` of its layers; values gated by SE; values through h-swish; values of the input."""
    gated = block.mid_chs * block.out_hw**2 if isinstance(block, MBConv) and block.se else 0
    curved = sum(layer.out_chs * layer.out_hw**2 for layer in block.layers if layer.act == "hswish")
    return (*layer_quantities(block.layers), float(gated), float(curved), float(block.in_chs * block.hw**2))


def part_costs_ms(rows: Floats, latencies_ms: Floats, quantities: Floats) -> Floats:
    """Positive costs of parts, (parts,), of which nets' latencies, (n,), are sums; `rows` (n, parts) counts parts.

    Least squares towards non-negative costs of the quantities, (parts, quantities); nets far off count less.
    Where nets do not tell parts apart, the quantities do.
    """
    from scipy.optimize import nnls  # which takes half a second, and most commands have no need of it

    scale = float(np.exp(np.log(latencies_ms).mean()))
    measured = latencies_ms / scale
    totals = (rows @ quantities).mean(axis=0)
    used = quantities[:, totals > 0] / totals[totals > 0]
    weights = np.ones(len(rows))
    for _ in range(FITS):
        root = np.sqrt(weights)
        expected = used @ nnls((rows @ used) * root[:, None], measured * root)[0]
        weights, _ = _weights(measured - rows @ expected)
    expected = np.maximum(expected, FREE * expected.mean())
    costs = expected
    for _ in range(FITS):
        weights, noise = _weights(measured - rows @ costs)
        inner = (rows * weights[:, None]).T @ rows + np.diag((noise / (ALLOWED * expected)) ** 2)
        costs = expected + np.linalg.solve(inner, (rows * weights[:, None]).T @ (measured - rows @ expected))
    return np.asarray(scale * np.maximum(costs, LEAST * expected))


def _weights(errors: Floats) -> tuple[Floats, float]:
    """How much each net counts, and the standard deviation of those that are not far off."""
    noise = max(EXACT, float(np.median(np.abs(errors))) / 0.6745)
    return 1 / np.maximum(1, np.abs(errors) / (OUTLIER * noise)), noise
