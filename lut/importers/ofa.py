"""once-for-all's lookup tables (Cai et al., ICLR 2020): MobileNetV3 blocks, one file a resolution.

`expand` is the expanded width in channels, and `hs` says h-swish, otherwise ReLU.
"""

from pathlib import Path

from lut.blocks import Block, Conv, Linear, MBConv, Pool
from lut.importers import SIZES, Build, block_of, entries_of
from lut.published import PublishedEntry

PATTERNS: dict[str, Build] = {
    rf"Conv-{SIZES}": lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 3, 2, "hswish"),
    rf"Conv_1-{SIZES}": lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 1, 1, "hswish"),
    rf"Conv_2-{SIZES}": lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 1, 1, "hswish", norm=False),
    rf"AvgPool2D-{SIZES}": lambda k: Pool(k["in_chs"], k["out_chs"], k["hw"]),
    r"Logits-input:1x1x(?P<in_chs>\d+)-output:(?P<out_chs>\d+)": lambda k: Linear(k["in_chs"], k["out_chs"], 1),
    rf"expanded_conv-{SIZES}-expand:(?P<mid>\d+)-kernel:(?P<kernel>[13579])-stride:(?P<stride>[12])"
    r"-idskip:(?P<skip>[01])-se:(?P<se>[01])-hs:(?P<hs>[01])": lambda k: MBConv(
        k["in_chs"], k["out_chs"], k["hw"], k["mid"], k["kernel"], k["stride"], bool(k["se"]),
        "hswish" if k["hs"] else "relu",
    ),
}  # fmt: skip


def read(path: Path) -> list[PublishedEntry]:
    """The entries of a file; raises InvalidInputError naming every key that is not understood."""
    return entries_of(path, PATTERNS)


def key_of(block: Block) -> str | None:
    """The key that stands for a block in such a table; None where it has no word for the block."""
    ends = f"input:{block.hw}x{block.hw}x{block.in_chs}-output:{block.out_hw}x{block.out_hw}x{block.out_chs}"
    match block:
        case Conv(kernel=3):
            key = f"Conv-{ends}"
        case Conv():
            key = f"{'Conv_1' if block.norm else 'Conv_2'}-{ends}"
        case Pool():
            key = f"AvgPool2D-{ends}"
        case Linear():
            key = f"Logits-input:{block.hw}x{block.hw}x{block.in_chs}-output:{block.out_chs}"
        case MBConv():
            key = (
                f"expanded_conv-{ends}-expand:{block.mid_chs}-kernel:{block.kernel}-stride:{block.stride}"
                f"-idskip:{block.residual:d}-se:{block.se:d}-hs:{block.act == 'hswish':d}"
            )
        case _:
            return None
    return key if block_of(key, PATTERNS) == block else None
