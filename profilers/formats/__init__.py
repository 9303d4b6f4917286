"""Model file formats: one file each, with `write(graph) -> bytes`. The file's name is the format's and its suffix."""

from dataclasses import dataclass

from profilers import plugins
from profilers.graph import Graph


@dataclass(frozen=True)
class ModelFile:
    """The bytes of a model file and the format they are in."""

    format: str
    content: bytes


def names() -> tuple[str, ...]:
    """The formats there are."""
    return plugins.names(__name__)


def write(graph: Graph, format: str) -> ModelFile:
    """Turn a graph into a model file of `format`."""
    return ModelFile(format, plugins.load(__name__, "format", format).write(graph))
