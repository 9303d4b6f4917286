"""A block and its key say the same, nonsense is no block, and memory is what one counts by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lut.blocks import Block, Conv, Linear, MBConv, Pool, PooledLinear
from lut.layers import make_divisible
from profilers.errors import InvalidInputError, shown

sizes = st.integers(1, 10**6)
acts = st.sampled_from(["none", "relu", "relu6", "hswish", "hsigmoid"])
STRATEGIES = {
    "conv": st.builds(Conv, sizes, sizes, sizes, sizes, sizes, acts, st.booleans()),
    "mbconv": st.builds(MBConv, sizes, sizes, sizes, sizes, sizes, sizes, st.booleans(), acts),
    "pool": st.builds(Pool, sizes, sizes, sizes),
    "linear": st.builds(Linear, sizes, sizes, sizes),
    "pooled_linear": st.builds(PooledLinear, sizes, sizes, sizes),
}


def test_every_kind_of_block_is_tested_here() -> None:
    assert set(STRATEGIES) == set(Block.kinds)


@given(st.one_of(*STRATEGIES.values()))
def test_a_key_is_parsed_into_the_block_it_spells(block: Block) -> None:
    parsed = Block.parse(block.key)
    assert parsed == block and type(parsed) is type(block) and hash(parsed) == hash(block)


@given(*[st.one_of(*STRATEGIES.values())] * 2)
def test_blocks_have_one_key_exactly_if_they_are_equal(one: Block, other: Block) -> None:
    assert (one.key == other.key) == (one == other)


@given(st.text() | st.lists(st.sampled_from(["conv", "pool", "hw=3", "in_chs=3", "=", "a=b=c", "", "kind=conv"])))
def test_any_text_that_is_no_key_is_an_error_for_the_user(text: str | list[str]) -> None:
    text = text if isinstance(text, str) else " ".join(text)
    with pytest.raises(InvalidInputError) as refused:  # none of these is complete
        Block.parse(text)
    assert shown(text) in str(refused.value) and "mbconv" in str(refused.value)


POOL = "pool in_chs=8 out_chs=8 hw=7"
CONV = "conv in_chs=3 out_chs=8 hw=7 kernel=3 stride=1 act=relu norm=True"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "pool",
        "pooling in_chs=8 out_chs=8 hw=7",
        POOL.replace(" hw=7", ""),
        POOL + " kernel=3",
        POOL + " ",
        POOL.replace("hw=7", "hw=seven"),
        POOL.replace("hw=7", "hw=7.5"),
        POOL.replace("hw=7", "hw=0"),
        POOL.replace("out_chs=8", "out_chs=-8"),
        POOL.replace("pool ", "pool kind=conv "),
        CONV.replace("act=relu", "act=gelu"),
        CONV.replace("norm=True", "norm=1"),
        CONV.replace("stride=1", "stride=0"),
    ],
)
def test_what_spells_no_block_is_refused(key: str) -> None:
    assert Block.parse(POOL) == Pool(8, 8, 7) and Block.parse(CONV) == Conv(3, 8, 7, 3, 1, "relu")
    with pytest.raises(InvalidInputError, match="no block is spelled"):
        Block.parse(key)


@pytest.mark.parametrize(
    ("block", "elements"),
    [
        # 3 x 8 x 8 in, 4 x 4 x 4 out, and the activation's output beside its input
        (Conv(3, 4, 8, 3, 2, "none"), 192 + 64),
        (Conv(3, 4, 8, 3, 2, "relu"), 192 + 64),
        (Conv(3, 16, 8, 3, 1, "relu"), 1024 + 1024),
        # expand 8 to 32, depthwise to half the size: the expansion's activation, 32 x 8 x 8, beside its input
        (MBConv(8, 8, 8, 32, 3, 2, False, "relu"), 2 * 2048),
        # the residual keeps the 8 x 8 x 8 input beside these
        (MBConv(8, 8, 8, 32, 3, 1, False, "relu"), 512 + 2 * 2048),
        # and squeeze-and-excitation the filtered 32 x 8 x 8 with the gate, 32, until their product
        (MBConv(8, 8, 8, 32, 3, 1, True, "relu"), 512 + 2 * 2048 + 32),
        (Pool(8, 8, 7), 8 * 49 + 8),
        (Linear(100, 10, 1), 110),
    ],
    ids=lambda value: value.key if isinstance(value, Block) else str(value),
)
def test_peak_activation_memory_is_what_one_counts_by_hand(block: Block, elements: int) -> None:
    assert block.peak_activation_bytes == 4 * elements


def test_a_block_without_expansion_has_no_expanding_layer() -> None:
    assert [layer.name for layer in MBConv(16, 16, 8, 16, 3, 1, False, "relu").layers] == ["depthwise", "project"]


@given(st.integers(1, 5000))
def test_widths_are_divisible_by_eight_and_never_lose_a_tenth(value: int) -> None:
    rounded = make_divisible(value)
    assert rounded % 8 == 0 and rounded >= max(8, 0.9 * value) and rounded <= value + 8
    assert abs(rounded - value) <= 4 or rounded - 8 < 0.9 * value
