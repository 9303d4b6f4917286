"""On a GPU: the captured graph is what runs, all of it, from memory that stays there, and its own time is told."""

import gc
from collections.abc import Callable

import numpy as np
import pytest
import torch

from profilers import backends
from profilers.backends import torch_cuda
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.formats import write
from profilers.graph import Array, Graph

TorchValues = Callable[[Graph, Array], dict[int, Array]]
DEVICE = Device(name="gpu", runtime="torch-cuda")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here that torch can use")


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def deep(layers: int, batch: int = 1) -> Graph:
    """Convolutions in a row, of weights that keep values near 1."""
    graph = Graph((batch, 64, 56, 56))
    x = graph.input
    for layer in range(layers):
        weight = normal(64, 64, 3, 3, seed=layer) * np.float32((64 * 9 / 2) ** -0.5)
        x = graph.activation(graph.conv(x, weight, np.zeros(64, np.float32)), "relu")
    return graph.finish(x)


def median_ms(session: Callable[[], float]) -> float:
    return float(np.median([session() for _ in range(30)]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("use", [torch_cuda.version, torch_cuda.machine])
def test_without_a_gpu_that_is_said(use: Callable[[], str]) -> None:
    with pytest.raises(DeviceError, match="no CUDA GPU here"):
        use()
    with pytest.raises(DeviceError, match="no CUDA GPU here"):
        torch_cuda.load(write(deep(1), "onnx").content, DEVICE)


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("batch", [1, 2])
def test_a_deep_net_computes_what_torch_computes_on_the_cpu(torch_values: TorchValues, batch: int) -> None:
    """In float32 throughout: the ten mantissa bits of TF32 would be off by a hundred times as much."""
    graph, x = deep(3, batch), normal(3, 64, 56, 56)
    y = torch_cuda.compute(write(graph, "onnx").content, x)
    assert np.abs(y - torch_values(graph, x)[graph.output.index]).max() <= 1e-4


@pytest.mark.gpu
@on_a_gpu
def test_ten_times_the_work_takes_longer_though_the_launch_is_one() -> None:
    short, long = (torch_cuda.load(write(deep(layers), "onnx").content, DEVICE) for layers in (2, 20))
    times = median_ms(short), median_ms(long)
    assert 0 < 2 * times[0] < times[1]


@pytest.mark.gpu
@on_a_gpu
def test_a_session_outlives_everything_it_was_made_of(torch_values: TorchValues) -> None:
    """A replay reads addresses: were weights and input let go, others would be there by now."""
    graph = deep(3)
    session = torch_cuda.load(write(graph, "onnx").content, DEVICE)
    gc.collect()
    torch.cuda.empty_cache()
    filler = [torch.full((1 << 20,), float("nan"), device="cuda") for _ in range(64)]
    before = torch.cuda.memory_allocated()
    assert all(session() > 0 for _ in range(3))
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before  # a replay allocates nothing
    run, x = session.args[-1]
    y = run(x).cpu().numpy()
    expected = torch_values(graph, x.cpu().contiguous().numpy())[graph.output.index]
    assert np.abs(y - expected).max() <= 1e-4
    del filler


@pytest.mark.gpu
@on_a_gpu
def test_two_sessions_do_not_disturb_each_other() -> None:
    sessions = [backends.load("torch-cuda").load(write(deep(n), "onnx").content, DEVICE) for n in (1, 2)]
    assert all(0 < session() < 1e3 for _ in range(5) for session in sessions)
