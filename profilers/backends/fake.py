"""A device that costs what a formula says, for tests: additive over blocks, with a little seeded noise.

A model costs 0.02 ms, 0.002 ms a node, and 1 ms for 10 M MACs; each run is off by up to ±1 %.
"""

import hashlib

import numpy as np

from profilers.backends import Session, in_batches
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.graph import Array

FORMAT = "onnx"
PRECISIONS = ("fp32",)
MODEL_MS, NODE_MS, MACS_PER_MS, NOISE = 0.02, 0.002, 10e6, 0.01


def version() -> str:
    """Version of the formula."""
    return "1"


def machine() -> str:
    """No machine at all."""
    return "fake"


def load(content: bytes, device: Device) -> Session:  # noqa: ARG001 - the formula knows no threads
    """Price a model by its nodes; the noise depends on the model's content and the run's number only."""
    cost_ms = price_ms(content)
    rng = np.random.default_rng(list(hashlib.sha256(content).digest()))
    return lambda: cost_ms * (1 + NOISE * float(rng.uniform(-1, 1)))


def compute(content: bytes, images: Array) -> Array:
    """The output for `images`, (n, C, H, W), by the reference implementation of ONNX."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(content)
    size = evaluator.input_types[0].tensor_type.shape.dim[0].dim_value
    return in_batches(images, size, lambda batch: np.asarray(evaluator.run(None, {"input": batch})[0]))


def price_ms(content: bytes) -> float:
    """What the formula says a model costs, in ms, without noise; raises DeviceError for what is no model."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content)).graph
    except Exception as error:  # protobuf's, which no stub describes
        raise DeviceError(f"the fake runtime refuses the model: {error}") from error
    weights = {weight.name: list(weight.dims) for weight in graph.initializer}
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
              for value in [*graph.value_info, *graph.output]}  # fmt: skip
    macs = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            macs += int(np.prod(weights[node.input[1]]) * np.prod(shapes[node.output[0]][2:]))
    return MODEL_MS + NODE_MS * len(graph.node) + macs / MACS_PER_MS
