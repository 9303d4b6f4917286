"""Published checkpoints: supernets in once-for-all's naming, read into ours and written back."""

import re
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from hwnas.nets.ofa_naming import PublishedTensor, plain, published_tensors
from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.spaces import names, open_space
from hwnas.training.state_dicts import family, named, read_state_dict
from lut.storage import write_atomically
from profilers.errors import InvalidInputError

WIDTHS = [round(0.05 * steps, 2) for steps in range(1, 61)]  # looked through for one that a file fits
SHOWN_SHAPES = 3
MAX_LISTED_CHARS = 800


def import_checkpoint(path: Path, space: SearchSpace, say: Callable[[str], object] = str) -> Supernet:
    """The supernet of `space` with the weights of a published file: torch's (tensors only), safetensors or npz.

    Where a file holds averaged weights beside plain ones, `say` is told which are taken. Raises InvalidInputError
    naming the keys that lack or are not understood, or both shapes where they differ.
    """
    expected = {plain(tensor.key): tensor for tensor in published_tensors(space)}
    read = read_state_dict(path)
    if read.taken:
        say(f"of {path} {read.taken} is taken")
    found = _by_plain_key(path, read.tensors)
    counters = {key for key in found if _statistic_of(key) in expected}
    found = {key: tensor for key, tensor in found.items() if key not in counters}
    _check_keys(path, space, expected.keys(), found.keys())
    _check_shapes(path, space, expected, found)
    for key, tensor in found.items():
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise InvalidInputError(f"{path}: {named(key)} holds values that are no finite floating-point numbers")
    net = Supernet(space)
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    net.load_state_dict({tensor.name: found[key].reshape(shapes[tensor.name]) for key, tensor in expected.items()})
    return net.eval()


def export_checkpoint(net: Supernet, path: Path) -> None:
    """Write a supernet in once-for-all's naming; the suffix, .pth or .safetensors, is the format."""
    state = net.state_dict()
    tensors = {
        tensor.key: state[tensor.name].reshape(tensor.shape).cpu().contiguous()
        for tensor in published_tensors(net.space)
    }
    if path.suffix == ".safetensors":
        write_atomically(path, save_safetensors(tensors))
    elif path.suffix == ".pth":
        content = BytesIO()
        torch.save({"state_dict": tensors}, content)  # as once-for-all's own files have it
        write_atomically(path, content.getvalue())
    else:
        raise InvalidInputError(f"{path}: a checkpoint is written as .pth or .safetensors")


def _by_plain_key(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if plain(key) in found:
            raise InvalidInputError(f"{path} holds {named(plain(key))} under two names, one of them {named(key)}")
        found[plain(key)] = tensor
    return found


def _statistic_of(key: str) -> str:
    """The statistic that a counter of batches belongs to; the counter itself has no use for us."""
    return key.replace(".bn.num_batches_tracked", ".bn.running_mean") if key.endswith("num_batches_tracked") else ""


def _check_keys(path: Path, space: SearchSpace, expected: Iterable[str], found: Iterable[str]) -> None:
    lacking, foreign = set(expected) - set(found), set(found) - set(expected)
    if not lacking and not foreign:
        return
    told = [f"it lacks {_listed(lacking)}"] if lacking else []
    told += [f"not understood is {_listed(foreign)}"] if foreign else []
    fitting = [name for name in names() if _known_keys(name) == set(found)]
    reason = f"its keys are those of --space {' or '.join(fitting)}" if fitting else "is it of another --space?"
    if not fitting and (elsewhere := family(set(foreign))):
        reason = f"its names are those of {elsewhere}: only supernets of once-for-all are read"
    raise InvalidInputError(f"{path} does not fit {space.name} ({reason}): {'; '.join(told)}")


def _check_shapes(
    path: Path, space: SearchSpace, expected: Mapping[str, PublishedTensor], found: Mapping[str, Tensor]
) -> None:
    wrong = {
        key: f"{key} is {tuple(found[key].shape)}, in {space.name} {tensor.shape}"
        for key, tensor in expected.items()
        if tuple(found[key].shape) != tensor.shape
    }
    if not wrong:
        return
    more = f"; and {len(wrong) - SHOWN_SHAPES} more" if len(wrong) > SHOWN_SHAPES else ""
    shown = "; ".join(list(wrong.values())[:SHOWN_SHAPES])
    raise InvalidInputError(f"{path} does not fit {space.name}: {shown}{more}; {_reason(space, wrong, found)}")


def _reason(space: SearchSpace, wrong: Iterable[str], found: Mapping[str, Tensor]) -> str:
    """What a file with these shapes most likely is."""
    classifier = found["classifier.linear.bias"]
    classes = len(classifier) if classifier.ndim else space.classes
    if all(key.startswith("classifier.") for key in wrong):
        return f"it tells {classes} classes apart: give --classes {classes}"
    family = space.name.partition("@")[0]
    for width in WIDTHS:
        at_width = published_tensors(open_space(f"{family}@{width}", classes=classes))
        if all(tuple(found[plain(tensor.key)].shape) == tensor.shape for tensor in at_width):
            return f"it is of another width: give --width {width:g} --classes {classes}"
    return "it is of another space, or of no width between 0.05 and 3"


def _keys(space: SearchSpace) -> set[str]:
    return {plain(tensor.key) for tensor in published_tensors(space)}


def _known_keys(name: str) -> set[str]:
    """The keys of a space; none of one that once-for-all has no names for."""
    try:
        return _keys(open_space(name))
    except InvalidInputError:
        return set()


def _listed(keys: Iterable[str]) -> str:
    """Keys with those put together that differ in their end or in the block's number: blocks.{1,2}.x.{bias,weight}."""
    ends: dict[str, list[str]] = {}
    for key in sorted(keys):
        stem, _, end = key.rpartition(".")
        ends.setdefault(stem, []).append(end)
    numbers: dict[tuple[str, str, str], list[str]] = {}
    for stem, found in ends.items():
        block = re.match(r"blocks\.(\d+)(\..*|)$", stem)
        before, number, behind = ("blocks.", block[1], block[2]) if block else (stem, "", "")
        numbers.setdefault((before, behind, _one_of(found)), []).append(number)
    listed = []
    for (before, behind, end), found in numbers.items():
        listed.append(f"{before}{_one_of(sorted(found, key=len))}{behind}.{end}".removeprefix("."))
    return _cut_off([named(key) for key in listed])


def _cut_off(listed: list[str]) -> str:
    """As many as a message has room for, and how many more there are."""
    length = 0
    for number, key in enumerate(listed):
        length += len(key)
        if length > MAX_LISTED_CHARS:
            return f"{', '.join(listed[:number])} and {len(listed) - number} more"
    return ", ".join(listed)


def _one_of(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{{{','.join(parts)}}}"
