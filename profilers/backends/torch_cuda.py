"""PyTorch on a CUDA GPU: the model captured as a CUDA graph, its replays timed by CUDA events.

Launching kernels one by one from Python takes longer than a small block computes; a replay is one launch. Events are
recorded on the GPU itself, and a run has ended when the GPU says so, not when the CPU is done asking.
"""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from profilers.backends import Session, in_batches
from profilers.backends import torch as eager
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.graph import Array

FORMAT = "onnx"
PRECISIONS = ("fp32",)
WARMUP_RUNS = 3  # cuDNN chooses its algorithms, which must not happen while a graph is captured


def version() -> str:
    """Versions of torch and of its CUDA."""
    torch = _runtime()
    return f"{torch.__version__}, CUDA {torch.version.cuda}"


def machine() -> str:
    """The GPU's name."""
    return str(_runtime().cuda.get_device_name())


def load(content: bytes, device: Device) -> Session:
    """Capture a model as a CUDA graph over a fixed input."""
    if device.clock != "wall":
        raise DeviceError(f"{device.name}: a GPU's time is not CPU time; remove clock = {device.clock!r}")
    torch = _runtime()
    run, shape = eager.program(content, "cuda")
    x = eager.example(shape, "cuda")
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside), _true_fp32():
        for _ in range(WARMUP_RUNS):
            run(x)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), _true_fp32():
        run(x)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    return partial(_replay, graph, start, end, (run, x))


def compute(content: bytes, images: Array) -> Array:
    """The output for `images`, (n, C, H, W)."""
    run, shape = eager.program(content, "cuda")
    with _true_fp32():
        return in_batches(images, shape[0], lambda batch: run(_runtime().from_numpy(batch).cuda()).cpu().numpy())


def _replay(graph: Any, start: Any, end: Any, alive: object) -> float:  # noqa: ARG001 - the graph reads that memory
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _true_fp32() -> AbstractContextManager[None]:
    """Convolutions with all 24 bits; torch's default on recent GPUs is TF32, which has 11."""
    flags: AbstractContextManager[None] = _runtime().backends.cudnn.flags(enabled=True, allow_tf32=False)
    return flags


def _runtime() -> Any:
    torch = eager.runtime()
    if not torch.cuda.is_available():
        raise DeviceError("there is no CUDA GPU here that torch can use")
    return torch
