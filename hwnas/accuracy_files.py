"""Accuracy predictors in the files that people have: ours, and once-for-all's own `acc_predictor.pth`."""

import re
from pathlib import Path

from hwnas.search.accuracy.predictor import AccuracyPredictor
from hwnas.search.accuracy.published import PublishedPredictor
from hwnas.search.accuracy.storage import MAX_BYTES, accuracy_of, open_accuracy
from hwnas.space import SearchSpace
from profilers.errors import InvalidInputError
from profilers.reading import read_bytes

LAST = "6.bias"


def read_accuracy(path: Path, space: SearchSpace) -> AccuracyPredictor | PublishedPredictor:
    """The predictor in a file of ours, or in the published one of once-for-all as an .npz or as torch saved it.

    Raises InvalidInputError if it cannot be read, is damaged, or is of another space.
    """
    if not path.exists() or not _of_torch(read_bytes(path, MAX_BYTES)):
        return open_accuracy(path, space)
    from hwnas.training.state_dicts import read_state_dict  # imports torch

    arrays = {_plain(key): tensor.float().numpy() for key, tensor in read_state_dict(path).tensors.items()}
    if "base_acc" in arrays:  # newer ones have this where the last layer has its bias
        arrays.setdefault(LAST, arrays.pop("base_acc").reshape(-1))
    if not any(key.endswith("0.weight") for key in arrays):
        raise InvalidInputError(f"{path} holds no accuracy predictor of once-for-all: it has no 0.weight to 6.bias")
    return accuracy_of(arrays, path, space)


def _of_torch(content: bytes) -> bool:
    """Whether torch saved the file: an archive with a pickle in it, or a pickle alone."""
    return content[:1] == b"\x80" or (content[:2] == b"PK" and b"/data.pkl" in content)


def _plain(key: str) -> str:
    """`layers.1.0.bias` of newer files is `2.bias` of older ones: ReLU is counted, too."""
    layer = re.fullmatch(r"(?:layers\.|model\.)?(\d)(\.0)?\.(weight|bias)", key)
    if layer is None:
        return key
    newer = key.startswith("layers.")
    return f"{int(layer[1]) * (2 if newer else 1)}.{layer[3]}"
