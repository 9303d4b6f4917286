"""Ranges of activations: what a graph's values take on given images, found by running it in float32."""

import numpy as np

from profilers.backends import onnxruntime
from profilers.formats import Ranges, onnx
from profilers.graph import Array, Graph


def activation_ranges(graph: Graph, images: Array) -> Ranges:
    """Least and greatest element of every value over `images`, (n, C, H, W), n a multiple of the graph's batch.

    Zero is always within: padding is zero, and an 8-bit number has to stand for it exactly.
    """
    values = [graph.input, *(operation.output for operation in graph.operations)]
    content = onnx.write_observed(graph)
    found = np.zeros((len(values), 2))
    for batch in np.split(images, len(images) // graph.input.shape[0]):
        for row, tensor in zip(found, [batch, *onnxruntime.outputs(content, batch)], strict=True):
            row[:] = min(row[0], tensor.min()), max(row[1], tensor.max())
    return {value.index: (float(low), float(high)) for value, (low, high) in zip(values, found, strict=True)}
