"""Importers: latency tables that others have published, read key by key into blocks of ours; one file a format.

An importer has `read(path)`, which gives the file's entries, or refuses the file with every key it does not understand.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lut.blocks import Block
from lut.published import PublishedEntry
from profilers import plugins
from profilers.errors import InvalidInputError, first_line

SIZES = r"input:(?P<hw>\d+)x(?P=hw)x(?P<in_chs>\d+)-output:(?P<out_hw>\d+)x(?P=out_hw)x(?P<out_chs>\d+)"
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

    Raises InvalidInputError naming every key that is not understood, or that is there twice: none is passed over.
    """
    found: dict[Block, PublishedEntry] = {}
    strange = []
    for key, value in _pairs(path):
        block = block_of(key, patterns)
        entry = _entry(block, value) if block else None
        if entry is None or entry.block in found:
            strange.append(key)
        else:
            found[entry.block] = entry
    if strange:
        raise InvalidInputError(f"{path}: {len(strange)} keys are not understood: {', '.join(strange)}")
    return list(found.values())


def _pairs(path: Path) -> list[tuple[str, Any]]:
    """Keys and values in their order; a key that is there twice comes twice, where YAML's own reader drops one."""
    try:
        loader = yaml.SafeLoader(path.read_text("utf-8"))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise InvalidInputError(f"{path} is no latency table: it has no keys")
        return [(str(key.value), loader.construct_object(value, deep=True)) for key, value in node.value]
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML: {first_line(error)}") from error


def _entry(block: Block, value: Any) -> PublishedEntry | None:
    try:
        facts = {name: float(figure) for name, figure in value.items()}
        ms, runs = facts.pop("mean"), facts.pop("count")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    std_ms = facts.pop("std", None)
    if "var" in facts:
        std_ms = math.sqrt(max(0.0, facts.pop("var")))
    sound = 0 < ms < math.inf and 1 <= runs < math.inf and 0 <= (std_ms or 0.0) < math.inf
    return PublishedEntry(block, ms, int(runs), std_ms) if sound and not facts else None
