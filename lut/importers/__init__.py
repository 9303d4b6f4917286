"""Importers: latency tables that others have published, read key by key into blocks of ours; one file a format.

An importer has `read(path)`, which gives the file's entries, or refuses the file with every key it does not understand.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lut.blocks import Block
from lut.published import PublishedEntry
from profilers import plugins
from profilers.errors import InvalidInputError, shown
from profilers.reading import read_yaml_pairs

SIZES = r"input:(?P<hw>\d+)x(?P=hw)x(?P<in_chs>\d+)-output:(?P<out_hw>\d+)x(?P=out_hw)x(?P<out_chs>\d+)"
LEAST = {"mean": 0.0, "count": 1.0, "std": 0.0, "var": 0.0}  # the figures of a key, and the least each may be
MAX_KEYS, MAX_KEY_CHARS = 8, 200  # that a message names; of each
Build = Callable[[dict[str, int]], Block]


def read_published(format: str, paths: Iterable[Path]) -> list[PublishedEntry]:
    """Entries of published files; raises UnknownNameError for the format, InvalidInputError for the content."""
    importer = plugins.load(__name__, "table format", format)
    return [entry for path in paths for entry in importer.read(path)]


def block_of(key: str, patterns: Mapping[str, Build]) -> Block | None:
    """The block that a key stands for, by the one pattern that fits all of it; None if the key contradicts itself."""
    for pattern, build in patterns.items():
        if match := re.fullmatch(pattern, key.removesuffix(":"), re.ASCII):
            facts = {name: int(value) for name, value in match.groupdict().items()}
            block = build(facts)
            same_size = facts.get("out_hw", block.out_hw) == block.out_hw and min(block.in_chs, block.hw) > 0
            same_skip = facts.get("skip", 0) == int(getattr(block, "residual", False))
            return block if same_size and same_skip else None
    return None


def entries_of(path: Path, patterns: Mapping[str, Build]) -> list[PublishedEntry]:
    """Entries of a YAML file that gives for each key the `mean` in ms, the `count` of runs, and `std` or `var`.

    Raises InvalidInputError naming keys that are not understood, that are there twice, or whose figures cannot be, and
    the format whose keys these are, if it is another: none is passed over.
    """
    found: dict[Block, PublishedEntry] = {}
    strange, twice, wrong = list[str](), list[str](), list[str]()
    pairs = read_yaml_pairs(path)
    for key, value in pairs:
        block = block_of(key, patterns)
        if block is None:
            strange.append(_key(key))
        elif block in found:
            twice.append(_key(key))
        elif fault := _fault(value):
            wrong.append(f"{_key(key)} ({fault})")
        else:
            found[block] = _entry(block, value)
    if not pairs or strange or twice or wrong:
        told = [f"{len(strange)} keys are not understood: {_some(strange)}"] if strange else []
        told += [f"{len(twice)} keys are there twice: {_some(twice)}"] if twice else []
        told += [f"{len(wrong)} keys have figures that cannot be: {_some(wrong)}"] if wrong else []
        told += [] if pairs else ["it has no keys"]
        raise InvalidInputError(f"{path}: {'; '.join(told)}{_advice([key for key, _ in pairs], patterns)}")
    return list(found.values())


def _advice(keys: list[str], patterns: Mapping[str, Build]) -> str:
    """Another format, if more keys are of that."""

    def understood(others: Mapping[str, Build]) -> int:
        return sum(block_of(key, others) is not None for key in keys)

    formats = {name: plugins.load(__name__, "table format", name).PATTERNS for name in plugins.names(__name__)}
    best = max(formats, key=lambda name: understood(formats[name]))
    if understood(formats[best]) <= understood(patterns):
        return ""
    return f"; these are keys of --format {best}"


def _key(key: str) -> str:
    """A key as messages have it."""
    return key if key.isprintable() and len(key) <= MAX_KEY_CHARS else shown(key)


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - MAX_KEYS} more" if len(texts) > MAX_KEYS else ""
    return ", ".join(texts[:MAX_KEYS]) + more


def _fault(value: Any) -> str:
    """What is wrong with a key's figures; "" if nothing is."""
    if not isinstance(value, Mapping):
        return f"{shown(value)} instead of mean and count"
    if lacking := [name for name in ("mean", "count") if name not in value]:
        return f"no {lacking[0]}"
    if foreign := [name for name in value if name not in LEAST]:
        return f"{shown(foreign[0])} is no figure of it"
    for name, figure in value.items():
        least = LEAST[name]
        if isinstance(figure, bool) or not isinstance(figure, int | float) or not least <= figure < math.inf:
            return f"{name} is {shown(figure)}"
        if name == "mean" and figure == 0:
            return "mean is 0"
    return ""


def _entry(block: Block, value: Mapping[str, float]) -> PublishedEntry:
    std_ms = float(value["std"]) if "std" in value else None
    if "var" in value:
        std_ms = math.sqrt(value["var"])
    return PublishedEntry(block, float(value["mean"]), int(value["count"]), std_ms)
