"""Accuracy predictors on disk: one .npz of plain arrays and a JSON text that says what they are. No pickle."""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.arrays import read_arrays
from hwnas.search.accuracy.features import Features
from hwnas.search.accuracy.predictor import KINDS, AccuracyPredictor
from hwnas.search.accuracy.published import MARK, PublishedPredictor
from hwnas.space import SearchSpace
from lut.storage import write_atomically
from profilers.errors import InvalidInputError, first_line, shown
from profilers.reading import plain_json, read_bytes

FORMAT, VERSION = "hwnas-accuracy", 1
ABOUT = "about"  # the array that holds the text
DAMAGE = AttributeError, IndexError, KeyError, TypeError, ValueError
MAX_BYTES = 256 << 20  # the published one has 1.5 MB
Arrays = dict[str, NDArray[Any]]


def save_accuracy(predictor: AccuracyPredictor, path: Path) -> None:
    """Write a fitted predictor to `path`, atomically; the same predictor gives the same bytes."""
    about = {
        "format": FORMAT,
        "version": VERSION,
        **_identity(predictor.space),
        "kind": predictor.kind,
        "rmse": predictor.rmse,
        "kendall_tau": predictor.kendall_tau,
        "subnets": predictor.subnets,
        "made_from": dict(predictor.made_from),
    }
    arrays: dict[str, Any] = {ABOUT: np.array(json.dumps(about)), **predictor.regressor.arrays()}
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())


def open_accuracy(path: Path, space: SearchSpace) -> AccuracyPredictor | PublishedPredictor:
    """The predictor in a file that `save_accuracy` wrote, or in the published one of once-for-all as an .npz.

    Raises InvalidInputError if it cannot be read, is damaged, or is of another space.
    """
    try:
        content = read_bytes(path, MAX_BYTES)
    except InvalidInputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InvalidInputError(f"{path} is not there") from error
        raise
    try:
        return accuracy_of(_arrays(content), path, space)
    except ValueError as error:
        raise InvalidInputError(_unreadable(path, error)) from error


def accuracy_of(arrays: Arrays, path: Path, space: SearchSpace) -> AccuracyPredictor | PublishedPredictor:
    """The predictor that the arrays of the file at `path` are; raises InvalidInputError."""
    try:
        return PublishedPredictor.of(arrays, space) if MARK in arrays else _fitted(arrays, space, path)
    except DAMAGE as error:
        raise InvalidInputError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    why = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
    return f"{path} holds no accuracy predictor that can be read: damaged or foreign ({why}); make it again"


def _arrays(content: bytes) -> Arrays:
    """All arrays of a file, read to the end; raises ValueError."""
    if content[:2] != b"PK":
        raise ValueError("it is no .npz file")
    arrays = read_arrays(content, MAX_BYTES)
    for name, array in arrays.items():
        if array.dtype.kind not in ("U" if name == ABOUT else "fi"):
            raise ValueError(f"{shown(name)} is no array of numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{shown(name)} has values that are no numbers")
    return arrays


def _fitted(arrays: Arrays, space: SearchSpace, path: Path) -> AccuracyPredictor:
    about = plain_json(str(arrays.pop(ABOUT)))
    if about["format"] != FORMAT or about["version"] != VERSION:
        raise ValueError(f"it is {about['format']} version {about['version']}, not {FORMAT} version {VERSION}")
    _check_space(about, space, path)
    figures = float(about["rmse"]), float(about["kendall_tau"])
    if not all(map(math.isfinite, figures)):
        raise ValueError("its held-out figures are no numbers")
    return AccuracyPredictor(
        space,
        about["kind"],
        KINDS[about["kind"]].of(arrays, Features(space).width),
        *figures,
        int(about["subnets"]),
        {str(key): str(value) for key, value in about["made_from"].items()},
    )


def _check_space(about: Mapping[str, Any], space: SearchSpace, path: Path) -> None:
    """Raise InvalidInputError naming both spaces if they differ."""
    here = _identity(space)
    if any(about[key] != here[key] for key in here):
        told, asked = (_said(identity) for identity in (about, here))
        raise InvalidInputError(
            f"{path} is an accuracy predictor for {told}, not for {asked}: "
            + ("fit one for that" if told != asked else "what one can choose there has changed since; fit it again")
        )


def _identity(space: SearchSpace) -> dict[str, Any]:
    """What makes two spaces the same to a predictor."""
    dimensions = {dimension.name: list(dimension.choices) for dimension in space.dimensions}
    return {
        "space": space.name,
        "resolutions": list(space.resolutions),
        "classes": space.classes,
        "dimensions": dimensions,
    }


def _said(identity: Mapping[str, Any]) -> str:
    resolutions = ",".join(map(str, identity["resolutions"]))
    return f"{identity['space']} at resolution {resolutions} with {identity['classes']} classes"
