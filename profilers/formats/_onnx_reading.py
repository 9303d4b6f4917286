"""ONNX files of the user's own: whether they can be measured, and with which shapes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import uses_external_data

from profilers.errors import InvalidInputError, first_line


def fixed_onnx(content: bytes, path: Path) -> bytes:
    """The model with an open batch set to 1; raises InvalidInputError, naming `path`, for what cannot be fixed."""
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's, which no stub describes
        raise InvalidInputError(f"{path} is no ONNX model, or damaged: {first_line(error)}") from error
    if not model.graph.node:
        raise InvalidInputError(f"{path} is no ONNX model, or damaged: it holds no operation")
    if any(uses_external_data(tensor) for tensor in _tensors(model.graph)):
        raise InvalidInputError(
            f"{path} keeps its weights in files beside it: write it as one file (onnx.save of onnx.load does so)"
        )
    weights = {weight.name for weight in model.graph.initializer}
    given = [put for put in model.graph.input if put.name not in weights]
    fixed = [name for put in given if (name := _fix_batch(put, path)) is not None]
    if not fixed:
        return content
    for put in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dim in put.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param in fixed:
                dim.dim_value = 1
    return bytes(model.SerializeToString())


def _fix_batch(put: Any, path: Path) -> str | None:
    """Set an open batch of an input to 1; returns what it was called, or None if it was not open."""
    if put.type.WhichOneof("value") != "tensor_type" or not put.type.tensor_type.HasField("shape"):
        raise InvalidInputError(f"{path}: input {put.name!r} is no tensor of known shape")
    dims = put.type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]
    if any(not isinstance(size, int) or size < 1 for size in sizes[1:]) or 0 in sizes[:1]:
        told = "x".join(map(str, sizes))
        raise InvalidInputError(
            f"{path}: the shape of input {put.name!r} is {told}, and only an open batch, the first of these, can be "
            "set (to 1): export the model with fixed sizes"
        )
    if not sizes or (isinstance(sizes[0], int) and sizes[0] > 0):
        return None
    name: str = dims[0].dim_param
    dims[0].dim_value = 1
    return name


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor that a graph holds, with those of the graphs inside its operations."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _tensors(inner)
