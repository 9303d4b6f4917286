"""Importers: latency tables that others have published, read key by key into blocks of ours."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from lut.blocks import Block, Conv, Linear, MBConv, Pool
from profilers.errors import InvalidInputError, UnknownNameError


@dataclass(frozen=True)
class PublishedEntry:
    """What a published table says of one block: a mean over `runs` runs, of which nothing else is known."""

    block: Block
    ms: float
    runs: int


_SIZES = r"input:(?P<hw>\d+)x(?P=hw)x(?P<in_chs>\d+)-output:(?P<out_hw>\d+)x(?P=out_hw)x(?P<out_chs>\d+)"
_OFA_KEYS: tuple[tuple[re.Pattern[str], Callable[[dict[str, int]], Block]], ...] = (
    (re.compile(rf"Conv-{_SIZES}"), lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 3, 2, "hswish")),
    (re.compile(rf"Conv_1-{_SIZES}"), lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 1, 1, "hswish")),
    (re.compile(rf"Conv_2-{_SIZES}"), lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 1, 1, "hswish", norm=False)),
    (re.compile(rf"AvgPool2D-{_SIZES}"), lambda k: Pool(k["in_chs"], k["out_chs"], k["hw"])),
    (re.compile(r"Logits-input:1x1x(?P<in_chs>\d+)-output:(?P<out_chs>\d+)"),
     lambda k: Linear(k["in_chs"], k["out_chs"], 1)),
    (re.compile(rf"expanded_conv-{_SIZES}-expand:(?P<mid>\d+)-kernel:(?P<kernel>\d)-stride:(?P<stride>\d)"
                r"-idskip:(?P<skip>[01])-se:(?P<se>[01])-hs:(?P<hs>[01])"),
     lambda k: MBConv(k["in_chs"], k["out_chs"], k["hw"], k["mid"], k["kernel"], k["stride"], bool(k["se"]),
                      "hswish" if k["hs"] else "relu")),
)  # fmt: skip


def read_ofa(path: Path) -> list[PublishedEntry]:
    """Entries of a once-for-all lookup table (YAML, one file a resolution); `expand` is the expanded width.

    Raises InvalidInputError naming every key that is not understood: none is passed over.
    """
    try:
        table = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(table, Mapping):
        raise InvalidInputError(f"{path} is no once-for-all table: it has no keys")
    found, strange = [], []
    for key, value in table.items():
        block = _ofa_block(str(key))
        try:
            ms, runs = float(value["mean"]), int(value["count"])
        except (KeyError, TypeError, ValueError):
            block, ms, runs = None, 0.0, 0
        if block is None or not 0 < ms < float("inf"):
            strange.append(str(key))
        else:
            found.append(PublishedEntry(block, ms, runs))
    if strange:
        raise InvalidInputError(f"{path}: {len(strange)} keys are not understood: {', '.join(strange[:5])}")
    return found


def _ofa_block(key: str) -> Block | None:
    for pattern, build in _OFA_KEYS:
        if match := pattern.fullmatch(key.removesuffix(":")):
            facts = {name: int(value) for name, value in match.groupdict().items()}
            block = build(facts)
            same_size = facts.get("out_hw", block.out_hw) == block.out_hw
            same_skip = not isinstance(block, MBConv) or block.residual == bool(facts["skip"])
            return block if same_size and same_skip else None
    return None


FORMATS: Mapping[str, Callable[[Path], list[PublishedEntry]]] = {"ofa": read_ofa}


def read_published(format: str, paths: Iterable[Path]) -> list[PublishedEntry]:
    """Entries of published files; raises UnknownNameError for the format, InvalidInputError for the content."""
    if format not in FORMATS:
        raise UnknownNameError("table format", format, FORMATS)
    return [entry for path in paths for entry in FORMATS[format](path)]
