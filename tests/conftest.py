"""What tests of several rooms share."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from profilers.graph import Array, Graph, Value

# Before torch is imported anywhere, here or in a subprocess: threads that wait actively for each other take minutes
# over what takes seconds as soon as a neighbour uses one of the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What hwnas remembers between commands is not written among what a person's own commands remember."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Published tables, nets and golden vectors, which are not part of the project; tests of them skip without."""
    folder = Path(os.environ.get("HWNAS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"published data are not at {folder} (HWNAS_SHARED_DATA says where)")
    return folder


@pytest.fixture(scope="session")
def torch_values() -> Callable[[Graph, Array], dict[int, Array]]:
    """What torch makes of a graph and any number of images: every value, by its index."""
    import torch
    import torch.nn.functional as F

    activations = {"relu": F.relu, "relu6": F.relu6, "hswish": F.hardswish, "hsigmoid": F.hardsigmoid}

    def evaluate(graph: Graph, images: Array) -> dict[int, Array]:
        values = {graph.input.index: torch.from_numpy(images)}
        for op in graph.operations:
            x, *more = (values[value.index] for value in op.inputs)
            weights = [torch.from_numpy(array) for array in (op.weight, op.bias) if array is not None]
            match op.kind:
                case "conv":
                    y = F.conv2d(x, *weights, op.stride, op.weight.shape[2] // 2, groups=op.groups)
                case "linear":
                    y = F.linear(x.flatten(1), *weights)
                case "pool":
                    y = F.adaptive_avg_pool2d(x, 1)
                case "add":
                    y = x + more[0]
                case "mul":
                    y = x * more[0]
                case kind:
                    y = activations[kind](x)
            values[op.output.index] = y
        return {index: value.numpy() for index, value in values.items()}

    return evaluate


def steps_of_128(*shape: int) -> Array:
    """Weights that 8 bits hold exactly: every output channel has 127 steps of 1/128 as its largest."""
    steps = np.random.default_rng(sum(shape)).integers(-127, 128, shape)
    steps.reshape(len(steps), -1)[:, 0] = 127
    return np.float32(steps / 128)


def bias(chs: int) -> Array:
    return np.float32(np.random.default_rng(chs).integers(-16, 17, chs) / 16)


FEATURES, POOLED, FLAT = (4, 9, 9), (4, 1, 1), (4,)
WITH_ACTIVATION: dict[str, tuple[tuple[int, ...], Callable[[Graph, Value], Value]]] = {
    "conv": (FEATURES, lambda graph, x: graph.conv(x, steps_of_128(8, 4, 3, 3), bias(8))),
    "linear": (POOLED, lambda graph, x: graph.linear(x, steps_of_128(5, 4), bias(5))),
    "pool": (FEATURES, lambda graph, x: graph.pool(x)),
    "add": (FEATURES, lambda graph, x: graph.add(x, graph.activation(x, "relu"))),
    "mul": (FEATURES, lambda graph, x: graph.mul(x, graph.pool(x))),
}
OPERATIONS = WITH_ACTIVATION | {
    "conv-stride-2": (FEATURES, lambda graph, x: graph.conv(x, steps_of_128(8, 4, 5, 5), bias(8), stride=2)),
    "conv-depthwise": (FEATURES, lambda graph, x: graph.conv(x, steps_of_128(4, 1, 7, 7), bias(4), groups=4)),
    "linear-flat": (FLAT, lambda graph, x: graph.linear(x, steps_of_128(5, 4), bias(5))),
}
for act in ("relu", "relu6", "hswish", "hsigmoid"):
    OPERATIONS[act] = FEATURES, lambda graph, x, act=act: graph.activation(x, act)
    for name, (shape, build) in WITH_ACTIVATION.items():
        OPERATIONS[f"{name}+{act}"] = shape, lambda graph, x, b=build, act=act: graph.activation(b(graph, x), act)


def graph_of(operation: str, batch: int = 1) -> Graph:
    shape, build = OPERATIONS[operation]
    graph = Graph((batch, *shape))
    return graph.finish(build(graph, graph.input))


@pytest.fixture(scope="session")
def operations() -> dict[str, Callable[..., Graph]]:
    """Every operation there is, alone and with every activation behind it, by name: graphs for any batch."""
    return {name: partial(graph_of, name) for name in OPERATIONS}


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> Callable[..., Graph]:
    """Each of the `operations` in turn."""
    return partial(graph_of, request.param)
