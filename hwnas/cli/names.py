"""Names that options take, looked up while the command line is read: a typo is told before anything heavy is imported.

Each is a callback of typer's, which gives the value back. A value of "" or None means that none was given.
"""

from pathlib import Path
from typing import TypeVar

from profilers.errors import InvalidInputError, UnknownNameError

Value = TypeVar("Value", str, str | None)


def space(value: Value) -> Value:
    """A search space, with its width."""
    if value:
        from hwnas.spaces import open_space

        open_space(value)
    return value


def data(value: Value) -> Value:
    """A data set."""
    if value:
        from hwnas.training.datasets import check_name

        check_name(value)
    return value


def runtime(value: Value) -> Value:
    """A runtime."""
    if value:
        from profilers import backends

        backends.check(value)
    return value


def precision(value: Value) -> Value:
    """A precision; whether the runtime has it is another question."""
    if value:
        from profilers.formats import PRECISIONS

        if value not in PRECISIONS:
            raise UnknownNameError("precision", value, PRECISIONS)
    return value


def recipe(value: Value) -> Value:
    """A training recipe."""
    if value:
        from profilers import plugins

        plugins.check("hwnas.training.recipes", "recipe", value)
    return value


def optimizer(value: Value) -> Value:
    """An optimizer."""
    from hwnas.training.plan import OPTIMIZERS

    if value not in OPTIMIZERS:
        raise UnknownNameError("optimizer", str(value), OPTIMIZERS)
    return value


def algorithm(value: Value) -> Value:
    """A search algorithm."""
    if value:
        from profilers import plugins

        plugins.check("hwnas.search.algorithms", "search algorithm", value)
    return value


def guess(value: Value) -> Value:
    """A way to price what was not measured."""
    if value:
        from hwnas.pricing import GUESSES

        if value not in GUESSES:
            raise UnknownNameError("way to guess", value, GUESSES)
    return value


def arch(value: Value) -> Value:
    """An architecture, as far as its spelling goes."""
    if value:
        from hwnas.arch import Arch

        Arch.parse(value)
    return value


def files(value: list[Path]) -> list[Path]:
    """Files that are read, each once."""
    return [path for path in dict.fromkeys(value) if file(path)]


def file(value: Path | None) -> Path | None:
    """A file that is read."""
    if value is not None and not value.exists():
        raise InvalidInputError(f"{value} is not there")
    return value
