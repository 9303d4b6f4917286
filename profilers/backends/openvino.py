"""OpenVINO on the CPU: one stream for least latency, float32 kept float32 also where the CPU would have bfloat16."""

from functools import cache
from typing import Any

import numpy as np

from profilers.backends import Session, example, in_batches, timed
from profilers.device import Device, cpu_model
from profilers.errors import DeviceError, first_line
from profilers.graph import Array

FORMAT = "onnx"
PRECISIONS = ("fp32", "int8")


def version() -> str:
    """Version of the installed openvino, without its build."""
    return str(_runtime().__version__).split("-")[0]


def machine() -> str:
    """This machine's processor."""
    return cpu_model()


def load(content: bytes, device: Device) -> Session:
    """Compile an ONNX model and bind its input."""
    request = _compile(content, device.threads).create_infer_request()
    rng = np.random.default_rng(0)
    for tensor in request.input_tensors:
        tensor.data[...] = example(list(tensor.shape), tensor.data.dtype, rng)
    return timed(request.infer, device.clock)


def compute(content: bytes, images: Array) -> Array:
    """The output for `images`, (n, C, H, W)."""
    compiled = _compile(content, 1)
    size = compiled.input(0).shape[0]
    return in_batches(images, size, lambda batch: np.array(compiled([batch])[compiled.output(0)]))


def _compile(content: bytes, threads: int) -> Any:
    core = _core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": "NO",  # the profiler pins
    }
    try:
        return core.compile_model(core.read_model(content), "CPU", settings)
    except RuntimeError as error:
        raise DeviceError(f"openvino {version()} refuses the model: {first_line(error)}") from error


@cache
def _core() -> Any:
    # One for the whole process. Each makes its own stack for signals, and puts back its predecessor's when it is
    # deleted: of two that are not deleted in reverse order, the later leaves the process with a stack that is unmapped,
    # and the next signal (control-C, the end of a child) kills it without a word. Seen with OpenVINO 2026.4.
    return _runtime().Core()


def _runtime() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise DeviceError("OpenVINO is not installed here: pip install 'hwnas[openvino]'") from error
    return openvino
