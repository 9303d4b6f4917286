"""LiteRT on the CPU, with XNNPACK; its predecessor tflite-runtime where only that is installed, as on old boards."""

import warnings
from importlib import metadata
from typing import Any

import numpy as np

from profilers.backends import Session, example, in_batches, timed, without_chatter
from profilers.device import Device, cpu_model
from profilers.errors import DeviceError
from profilers.graph import Array

FORMAT = "tflite"
PRECISIONS = ("fp32", "int8")


def version() -> str:
    """Version of the installed runtime; of tflite-runtime with its name before it."""
    package = "ai-edge-litert" if "ai_edge_litert" in _interpreter_class().__module__ else "tflite-runtime"
    found = metadata.version(package)
    return found if package == "ai-edge-litert" else f"{package} {found}"


def machine() -> str:
    """This machine's processor."""
    return cpu_model()


def load(content: bytes, device: Device) -> Session:
    """Prepare an interpreter over a TFLite model."""
    interpreter = _open(content, device.threads)
    rng = np.random.default_rng(0)
    for put in interpreter.get_input_details():
        if any(size < 0 for size in put["shape_signature"][1:]):
            raise DeviceError(f"the size of input {put['name']!r} is left open: export the model with fixed sizes")
        interpreter.set_tensor(put["index"], example(put["shape"], put["dtype"], rng))
    return timed(interpreter.invoke, device.clock)


def compute(content: bytes, images: Array) -> Array:
    """The output for `images`, (n, C, H, W), as floats; feature maps with channels first."""
    interpreter = _open(content, 1)
    size = int(interpreter.get_input_details()[0]["shape"][0])
    return in_batches(images, size, lambda batch: _run(interpreter, batch))


def _run(interpreter: Any, images: Array) -> Array:
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    x = images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        x = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_tensor(given["index"], np.ascontiguousarray(x))
    interpreter.invoke()
    y = interpreter.get_tensor(made["index"])
    if made["dtype"] == np.int8:
        scale, zero = made["quantization"]
        y = ((y.astype(np.float32) - zero) * scale).astype(np.float32)
    return np.asarray(y.transpose(0, 3, 1, 2) if y.ndim == 4 else y)


def _open(content: bytes, threads: int) -> Any:
    try:
        with warnings.catch_warnings(), without_chatter():
            warnings.simplefilter("ignore", DeprecationWarning)
            interpreter = _interpreter_class()(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, TypeError) as error:
        raise DeviceError(f"litert {version()} refuses the model: {error}") from error
    return interpreter


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise DeviceError("LiteRT is not installed here: pip install 'hwnas[litert]'") from error
        if np.lib.NumpyVersion(np.__version__) >= "2.0.0":  # it would fail later, and say something else
            raise DeviceError("tflite-runtime needs numpy 1: pip install 'numpy<2', or ai-edge-litert") from None
    return Interpreter
