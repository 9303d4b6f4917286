"""ProxylessNAS's lookup table (Cai, Zhu & Han, ICLR 2019), measured on a Pixel 1: MobileNetV2 blocks at 224 pixels.

`expand` is the ratio of expanded to input width; all activations are ReLU6; the logits pool what they are given.
"""

from pathlib import Path

from lut.blocks import Conv, MBConv, PooledLinear
from lut.importers import SIZES, Build, entries_of
from lut.published import PublishedEntry

PATTERNS: dict[str, Build] = {
    rf"Conv-{SIZES}": lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 3, 2, "relu6"),
    rf"Conv_1-{SIZES}": lambda k: Conv(k["in_chs"], k["out_chs"], k["hw"], 1, 1, "relu6"),
    r"Logits-input:(?P<hw>\d+)x(?P=hw)x(?P<in_chs>\d+)-output:(?P<out_chs>\d+)":
        lambda k: PooledLinear(k["in_chs"], k["out_chs"], k["hw"]),
    rf"expanded_conv-{SIZES}-expand:(?P<ratio>\d+)-kernel:(?P<kernel>[13579])-stride:(?P<stride>[12])"
    r"-idskip:(?P<skip>[01])": lambda k: MBConv(
        k["in_chs"], k["out_chs"], k["hw"], k["in_chs"] * k["ratio"], k["kernel"], k["stride"], False, "relu6"
    ),
}  # fmt: skip


def read(path: Path) -> list[PublishedEntry]:
    """The entries of a file; raises InvalidInputError naming every key that is not understood."""
    return entries_of(path, PATTERNS)
