"""Tensors by name out of a file of anybody's training: unwrapped, without prefixes that all names have in common."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from hwnas.arrays import read_arrays
from profilers.errors import InvalidInputError, shown
from profilers.reading import read_bytes

MAX_FILE_BYTES = 8 << 30
MAX_ARRAY_BYTES = 2 << 30  # once-for-all's largest supernet has 60 MB
MAX_LEVELS = 8  # of wrappers and prefixes
EMA = ("ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema", "module_ema")
PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights", "supernet")
FAMILIES = (
    (r"input_stem\.|blocks\.\d+\.conv1\.conv\.", "once-for-all's ResNet50, which hwnas has no space for"),
    (r"_conv_stem\.|_blocks\.\d+\.", "EfficientNet-PyTorch's EfficientNet"),
    (r"conv_stem\.|blocks\.\d+\.\d+\.(conv_|bn|se)", "timm's EfficientNet or MobileNetV3"),
    (r"features\.\d+\.", "torchvision's MobileNet, EfficientNet or VGG"),
    (r"layer[1-4]\.\d+\.(conv|bn|downsample)", "a ResNet of torchvision or timm"),
    (r"patch_embed\.|cls_token|encoder\.layers?\.|blocks\.\d+\.attn\.", "a vision transformer"),
    (r"stages\.\d+\.|downsample_layers\.", "ConvNeXt or another network of stages from timm"),
    (r"embeddings?\.|h\.\d+\.|transformer\.", "a language model"),
)  # fmt: skip


@dataclass(frozen=True)
class StateDict:
    """Tensors by name, and what of the file they are, where there was a choice ("" otherwise)."""

    tensors: dict[str, Tensor]
    taken: str


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a file of torch's (tensors only), safetensors or npz; raises InvalidInputError.

    Exponential moving averages are preferred to plain weights beside them: they are what such a training evaluates.
    """
    content = read_bytes(path, MAX_FILE_BYTES)
    try:
        found = _parsed(content)
    except Exception as error:  # what damaged or foreign bytes make torch's reader raise has no common type
        why = f"{type(error).__name__}: {error}" if type(error) is ValueError else type(error).__name__
        raise InvalidInputError(
            f"{path} is damaged, or holds other things than tensors ({why[:200]}): a state dict is wanted, "
            "saved by torch, or as safetensors or npz"
        ) from error
    tensors, taken = _unwrapped(found, path)
    for key, tensor in tensors.items():
        if odd := _odd(tensor):
            raise InvalidInputError(f"{path}: {named(key)} is a {odd} tensor: save plain floating-point ones")
    return StateDict(tensors, taken)


def family(keys: Collection[str]) -> str:
    """The network that has such names elsewhere; "" if none is known."""
    for pattern, name in FAMILIES:
        if any(re.match(pattern, key) for key in keys):
            return name
    return ""


def named(key: str) -> str:
    """A tensor's name as messages have it."""
    return key if key.isprintable() and len(key) <= 100 else shown(key)


def _parsed(content: bytes) -> Any:
    if content[8:9] == b"{":  # behind the length of the header
        return load_safetensors(content)
    if is_zipfile(BytesIO(content)):
        with ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
        if all(entry.filename.endswith(".npy") for entry in entries):
            arrays = read_arrays(content, MAX_ARRAY_BYTES, _of_state_dict)
            return {name.removeprefix("sd/"): torch.from_numpy(array) for name, array in arrays.items()}
        # torch writes nothing compressed: what is can be a thousand times as large as the file.
        if any(entry.compress_type != ZIP_STORED for entry in entries):
            raise ValueError("it is a compressed archive, as torch writes none")
    return torch.load(BytesIO(content), map_location="cpu", weights_only=True)


def _of_state_dict(names: list[str]) -> list[str]:
    """An archive is flat: a state dict among other arrays has its names behind sd/."""
    return [name for name in names if name.startswith("sd/")] or names


def _unwrapped(found: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    taken: list[str] = []
    for _ in range(MAX_LEVELS):
        if not isinstance(found, Mapping):
            raise InvalidInputError(f"{path} holds no state dict but a {type(found).__name__}")
        inner = [key for key in (*EMA, *PLAIN) if isinstance(found.get(key), Mapping) and found[key]]
        if not inner:
            break
        if len(inner) > 1:
            taken.append(f"{inner[0]} (and not {', '.join(inner[1:])})")
        found = found[inner[0]]
    foreign = [str(key) for key, value in found.items() if not isinstance(value, Tensor)]
    if foreign:
        more = f" (nor are {len(foreign) - 1} more)" if len(foreign) > 1 else ""
        raise InvalidInputError(f"{path} holds no state dict: {named(foreign[0])} is no tensor{more}")
    tensors = {str(key).replace("_orig_mod.", ""): tensor for key, tensor in found.items()}
    if len(tensors) < len(found):
        raise InvalidInputError(f"{path} holds a tensor under two names, with and without _orig_mod.")
    return _without_prefix(tensors, taken)


def _without_prefix(tensors: dict[str, Tensor], taken: list[str]) -> tuple[dict[str, Tensor], str]:
    for _ in range(MAX_LEVELS):
        groups: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            first, _, rest = key.partition(".")
            if not rest and first in ("n_averaged", "num_updates", "decay"):  # counters of averages
                continue
            groups.setdefault(first, {})[rest] = tensor
        wrappers = [key for key in (*EMA, *PLAIN) if key in groups]
        if not wrappers or set(groups) - set(wrappers) or "" in groups[wrappers[0]]:
            break
        if len(wrappers) > 1:
            taken.append(f"{wrappers[0]} (and not {', '.join(wrappers[1:])})")
        tensors = groups[wrappers[0]]
    return tensors, ", ".join(taken)


def _odd(tensor: Tensor) -> str:
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_meta:
        return "meta"
    return "quantised" if tensor.is_quantized else ""
