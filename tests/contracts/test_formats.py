"""Every file in profilers/formats turns a graph into a model file: the same one each time, with all that is in it."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from profilers import backends, formats
from profilers.device import Device
from profilers.errors import DeviceError, UnknownNameError
from profilers.formats import HSWISH_FORMS, PRECISIONS, Form, ModelFile
from profilers.graph import Graph, Kind, Value

Operations = dict[str, Callable[..., Graph]]
FORMS = [Form(precision, hswish) for precision in PRECISIONS for hswish in HSWISH_FORMS]


@pytest.fixture(params=formats.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=FORMS, ids=lambda form: f"{form.precision}-{form.hswish}")
def form(request: pytest.FixtureRequest) -> Form:
    return request.param


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_every_operation_is_tested_here(operations: Operations) -> None:
    assert {graph().operations[-1].kind for graph in operations.values()} == set(get_args(Kind))


def test_a_name_that_is_not_there_is_refused_with_those_there_are(operations: Operations) -> None:
    with pytest.raises(UnknownNameError, match=", ".join(formats.names())):
        formats.write(operations["relu"](), "papyrus")


def test_the_format_names_a_runtime_that_reads_it_in_every_precision(name: str) -> None:
    runtime = backends.load(formats.load(name).RUNTIME)
    assert name == runtime.FORMAT and set(runtime.PRECISIONS) == set(PRECISIONS)


def test_every_operation_is_written_so_that_the_format_s_runtime_runs_it(
    name: str, form: Form, operation: Callable[..., Graph]
) -> None:
    model = formats.write(operation(batch=3), name, form)
    assert model == ModelFile(name, model.content) and model.content
    runtime = formats.load(name).RUNTIME
    device = Device(name="any", runtime=runtime, batch=3, precision=form.precision, hswish=form.hswish)
    try:
        backends.load(runtime).version()
    except DeviceError as error:
        pytest.skip(f"runtime {runtime} cannot be used here: {error}")
    assert backends.load(runtime).load(model.content, device)() > 0


def test_equal_graphs_are_equal_files(name: str, form: Form, operation: Callable[..., Graph]) -> None:
    assert formats.write(operation(), name, form) == formats.write(operation(), name, form)


def test_float32_is_what_is_written_where_nothing_else_is_asked_for(name: str, operation: Callable[..., Graph]) -> None:
    assert formats.write(operation(), name) == formats.write(operation(), name, Form("fp32", "fused"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_form_of_hswish_changes_files_with_hswish_and_no_others(
    name: str, precision: str, operation: Callable[..., Graph]
) -> None:
    graph = operation()
    fused, split = (formats.write(graph, name, Form(precision, hswish)) for hswish in HSWISH_FORMS)
    assert (fused != split) == any(op.kind == "hswish" for op in graph.operations)


def conv(graph: Graph, weight: np.ndarray, bias: np.ndarray, **settings: int) -> Value:
    return graph.conv(graph.input, weight, bias, **settings)


def test_whatever_differs_between_graphs_differs_between_files(name: str, form: Form, operations: Operations) -> None:
    weight, bias = normal(4, 4, 3, 3), normal(4)
    changed = weight.copy()
    changed[3, 2, 1, 0] += 1
    graphs = [*(graph() for graph in operations.values()), operations["relu"](batch=2)]
    for settings in ((weight, bias, 1), (changed, bias, 1), (weight, bias + 1, 1), (weight, bias, 2)):
        graph = Graph((1, 4, 9, 9))
        graphs.append(graph.finish(conv(graph, *settings[:2], stride=settings[2])))
    files = [formats.write(graph, name, form, images=on_both_sides(graph)).content for graph in graphs]
    assert len(set(files)) == len(files)


def on_both_sides(graph: Graph) -> np.ndarray:
    """Images with values, means and products below 0 and above 6: an int8 ReLU that changes nothing is not written."""
    shape = (2, *graph.input.shape[1:])
    offset = np.float32([20, 20, -20, -20]).reshape(4, *[1] * (len(shape) - 2))
    return 30 * normal(*shape) + offset


@pytest.mark.parametrize(("precision", "weight_bytes"), [("fp32", 4), ("int8", 1)])
def test_all_weights_are_in_the_file(name: str, precision: str, weight_bytes: int) -> None:
    graph = Graph((1, 64, 9, 9))
    graph.finish(conv(graph, normal(64, 64, 3, 3), normal(64)))
    size, least = len(formats.write(graph, name, Form(precision)).content), weight_bytes * 64 * 64 * 9 + 4 * 64
    assert least <= size < least + 10_000


def test_writing_leaves_the_graph_as_it_was(name: str, form: Form, operations: Operations) -> None:
    graph = operations["conv"]()
    (before,) = [(op.kind, op.weight.copy(), op.bias.copy()) for op in graph.operations]
    formats.write(graph, name, form)
    formats.write(graph, name, form)
    ((kind, *arrays),) = [(op.kind, op.weight, op.bias) for op in graph.operations]
    assert kind == before[0] and all(map(np.array_equal, arrays, before[1:]))
