"""The vocabulary of once-for-all's MobileNetV3 space is that of the tables its authors published."""

import re
from pathlib import Path

import pytest

from hwnas.spaces import open_space
from lut.blocks import Block, Conv, Linear, MBConv, Pool

INVERTED_RESIDUAL = re.compile(
    r"expanded_conv-input:(?P<hw>\d+)x\d+x(?P<i>\d+)-output:(?P<out_hw>\d+)x\d+x(?P<o>\d+)-expand:(?P<mid>\d+)"
    r"-kernel:(?P<k>\d+)-stride:(?P<s>\d+)-idskip:(?P<skip>\d)-se:(?P<se>\d)-hs:(?P<hs>\d)"
)


def published_keys(path: Path) -> list[str]:
    return [line.rstrip().removesuffix(":") for line in path.read_text().splitlines() if not line.startswith(" ")]


def published_block(key: str) -> tuple[Block, int]:
    """The block a published key stands for, and the height of its output that the key states."""
    if found := INVERTED_RESIDUAL.fullmatch(key):
        hw, i, out_hw, o, mid, k, s, skip, se, hs = map(int, found.groups())
        block = MBConv(i, o, hw, mid, k, s, bool(se), "hswish" if hs else "relu")
        assert block.residual == bool(skip)
        return block, out_hw
    name, hw, i, out_hw, o = re.fullmatch(r"(\w+)-input:(\d+)x\d+x(\d+)-output:(?:(\d+)x\d+x)?(\d+)", key).groups()
    hw, i, out_hw, o = int(hw), int(i), int(out_hw or 1), int(o)
    block = {
        "Conv": Conv(i, o, hw, 3, 2, "hswish"),
        "Conv_1": Conv(i, o, hw, 1, 1, "hswish"),
        "AvgPool2D": Pool(i, o, hw),
        "Conv_2": Conv(i, o, hw, 1, 1, "hswish", norm=False),
        "Logits": Linear(i, o, hw),
    }[name]
    return block, out_hw


@pytest.mark.parametrize("resolution", [160, 192, 224])
def test_published_keys_and_our_blocks_correspond_one_to_one(shared_data: Path, resolution: int) -> None:
    path = shared_data / "ofa_note10" / f"{resolution}_lookup_table.yaml"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the published data")
    published = [published_block(key) for key in published_keys(path)]
    assert len(published) == len({block for block, _ in published}) == 96
    assert {block for block, _ in published} == set(open_space("ofa-mbv3@1.2", resolutions=(resolution,)).vocabulary)
    assert [block.out_hw for block, _ in published] == [out_hw for _, out_hw in published]
