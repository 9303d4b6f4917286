"""PyTorch on the CPU: eager, channels last, the operations of an ONNX file one by one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from profilers.backends import Session, in_batches, timed
from profilers.device import Device, cpu_model
from profilers.errors import DeviceError
from profilers.graph import Array

FORMAT = "onnx"
PRECISIONS = ("fp32",)

Program = Callable[[Any], Any]
"""A model as a function of a torch tensor."""


def version() -> str:
    """Version of the installed torch."""
    return str(runtime().__version__)


def machine() -> str:
    """This machine's processor."""
    return cpu_model()


def load(content: bytes, device: Device) -> Session:
    """Prepare a model; torch's threads are those of the whole process, so sessions of one process share them."""
    torch = runtime()
    torch.set_num_threads(device.threads)
    run, shape = program(content, "cpu")
    x = example(shape, "cpu")
    return timed(lambda: run(x), device.clock)


def compute(content: bytes, images: Array) -> Array:
    """The output for `images`, (n, C, H, W)."""
    run, shape = program(content, "cpu")
    return in_batches(images, shape[0], lambda batch: run(runtime().from_numpy(batch)).numpy())


def program(content: bytes, place: str) -> tuple[Program, list[int]]:
    """A float32 ONNX model as a torch function on `place`, and the shape of its input.

    Raises DeviceError for what is no model, and for operations that `profilers.formats.onnx` does not write.
    """
    import onnx

    torch = runtime()
    try:
        graph = onnx.load_from_string(content).graph
        given = graph.input[0]
    except Exception as error:  # protobuf's, which no stub describes
        raise DeviceError(f"torch cannot be given the model: {error}") from error
    constants = {}
    for weight in graph.initializer:
        constants[weight.name] = _channels_last(torch.from_numpy(onnx.numpy_helper.to_array(weight).copy()).to(place))
    steps = [(node.output[0], list(node.input), _operation(torch, node)) for node in graph.node]
    result = graph.output[0].name

    def run(x: Any) -> Any:
        values = {**constants, given.name: x}
        with torch.inference_mode():
            for output, inputs, operation in steps:
                values[output] = operation(*(values[name] for name in inputs))
        return values[result]

    return run, [dim.dim_value for dim in given.type.tensor_type.shape.dim]


def example(shape: list[int], place: str) -> Any:
    """A fixed random input for a program, on `place`."""
    return _channels_last(runtime().from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32)).to(place))


def _channels_last(tensor: Any) -> Any:
    # clone, because torch takes 1x1 and depthwise weights to be channels last as they are, and computes slowly.
    return tensor.clone(memory_format=runtime().channels_last) if tensor.ndim == 4 else tensor


def _operation(torch: Any, node: Any) -> Callable[..., Any]:
    nn = torch.nn.functional
    operations: dict[str, Callable[..., Any]] = {
        "Conv": partial(_convolve, nn.conv2d, {a.name: list(a.ints) or a.i for a in node.attribute}),
        "Gemm": nn.linear,
        "Flatten": lambda x: x.flatten(1),
        "GlobalAveragePool": lambda x: nn.adaptive_avg_pool2d(x, 1),
        "Clip": torch.clamp,
        "Relu": torch.relu,
        "HardSwish": nn.hardswish,
        "HardSigmoid": nn.hardsigmoid,
        "Add": torch.add,
        "Mul": torch.mul,
    }
    if node.op_type not in operations:
        raise DeviceError(f"the torch runtime knows no operation {node.op_type}: it runs what hwnas exports in fp32")
    return operations[node.op_type]


def _convolve(conv2d: Any, settings: dict[str, Any], x: Any, weight: Any, bias: Any) -> Any:
    return conv2d(x, weight, bias, settings["strides"], settings["pads"][:2], groups=settings["group"])


def runtime() -> Any:
    """The torch module; raises DeviceError where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise DeviceError("torch is not installed here: pip install 'hwnas[train]'") from error
    return torch
