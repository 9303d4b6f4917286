"""Every file in profilers/formats turns a graph into a model file: the same one each time, with all that is in it."""

from typing import get_args

import numpy as np
import pytest

from profilers import backends, formats
from profilers.device import Device
from profilers.errors import DeviceError, UnknownNameError
from profilers.formats import ModelFile
from profilers.graph import Graph, Kind, Value


@pytest.fixture(params=formats.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


OPERATIONS = {
    "conv": lambda graph, x: graph.conv(x, normal(8, 4, 3, 3), normal(8)),
    "conv of stride 2": lambda graph, x: graph.conv(x, normal(8, 4, 5, 5), normal(8), stride=2),
    "depthwise conv": lambda graph, x: graph.conv(x, normal(4, 1, 7, 7), normal(4), groups=4),
    "linear": lambda graph, x: graph.linear(graph.pool(x), normal(5, 4), normal(5)),
    "pool": lambda graph, x: graph.pool(x),
    "add": lambda graph, x: graph.add(x, graph.activation(x, "relu")),
    "mul": lambda graph, x: graph.mul(x, graph.pool(x)),
    "relu": lambda graph, x: graph.activation(x, "relu"),
    "relu6": lambda graph, x: graph.activation(x, "relu6"),
    "hswish": lambda graph, x: graph.activation(x, "hswish"),
    "hsigmoid": lambda graph, x: graph.activation(x, "hsigmoid"),
}


def graph_of(operation: str, batch: int = 1) -> Graph:
    graph = Graph((batch, 4, 9, 9))
    return graph.finish(OPERATIONS[operation](graph, graph.input))


def test_every_operation_is_tested_here() -> None:
    assert {kind for operation in OPERATIONS for kind in [graph_of(operation).operations[-1].kind]} == set(
        get_args(Kind)
    )


def test_a_name_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=", ".join(formats.names())):
        formats.write(graph_of("relu"), "papyrus")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_operation_is_written_so_that_runtimes_of_the_format_run_it(
    name: str, operation: str, batch: int
) -> None:
    model = formats.write(graph_of(operation, batch), name)
    assert model == ModelFile(name, model.content) and model.content
    ran = [runtime for runtime in backends.names() if runs(runtime, model, batch)]
    if not ran:
        pytest.skip(f"no runtime that reads {name} is installed here")


def runs(runtime: str, model: ModelFile, batch: int) -> bool:
    backend = backends.load(runtime)
    if model.format != backend.FORMAT:
        return False
    try:
        backend.version()
    except DeviceError:
        return False
    return backend.load(model.content, Device(name="any", runtime=runtime, batch=batch))() > 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_equal_graphs_are_equal_files(name: str, operation: str) -> None:
    assert formats.write(graph_of(operation), name) == formats.write(graph_of(operation), name)


def conv(graph: Graph, weight: np.ndarray, bias: np.ndarray, **settings: int) -> Value:
    return graph.conv(graph.input, weight, bias, **settings)


def test_whatever_differs_between_graphs_differs_between_files(name: str) -> None:
    weight, bias = normal(4, 4, 3, 3), normal(4)
    changed = weight.copy()
    changed[3, 2, 1, 0] += 1
    files = [formats.write(graph_of(operation), name).content for operation in OPERATIONS]
    for settings in ((weight, bias, 1), (changed, bias, 1), (weight, bias + 1, 1), (weight, bias, 2)):
        graph = Graph((1, 4, 9, 9))
        files.append(formats.write(graph.finish(conv(graph, *settings[:2], stride=settings[2])), name).content)
    files.append(formats.write(graph_of("relu", batch=2), name).content)
    assert len(set(files)) == len(files)


def test_all_weights_are_in_the_file(name: str) -> None:
    graph = Graph((1, 64, 9, 9))
    graph.finish(conv(graph, normal(64, 64, 3, 3), normal(64)))
    size = len(formats.write(graph, name).content)
    assert 4 * (64 * 64 * 9 + 64) <= size < 4 * (64 * 64 * 9 + 64) + 10_000


def test_writing_leaves_the_graph_as_it_was(name: str) -> None:
    graph = graph_of("conv")
    before = [
        (operation.kind, operation.weight.copy()) for operation in graph.operations if operation.weight is not None
    ]
    formats.write(graph, name)
    formats.write(graph, name)
    after = [(operation.kind, operation.weight) for operation in graph.operations]
    assert len(before) == len(after) == 1 and np.array_equal(before[0][1], after[0][1])
