"""Nets that once-for-all published: its `net.config` files, read as architectures of a space, and written.

A file spells out every layer. What it says is turned into blocks, and these must be the blocks of the architecture
found, one by one: a net of another width, head or activation is refused, never taken for one that is similar.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwnas.arch import Arch
from hwnas.matching import space_of_network
from hwnas.space import SearchSpace
from hwnas.stages import StagedSpace
from lut.blocks import Block, Conv, Linear, MBConv, Pool, PooledLinear
from lut.layers import Act
from profilers.errors import InvalidInputError, shown
from profilers.reading import Fields, read_json

Config = dict[str, Any]
ACTS: dict[str, Act] = {"relu": "relu", "relu6": "relu6", "h_swish": "hswish"}
NETWORKS = ("MobileNetV3", "ProxylessNASNets")
MAX_BYTES, MAX_SIZE = 4 << 20, 100_000  # of a file; of widths, image sizes and kernels
ACT_NAMES = {act: name for name, act in ACTS.items()}


def read_net(path: Path, space: SearchSpace) -> Arch:
    """The architecture of `space` that a net.config file describes; raises InvalidInputError if it is none of it.

    The image size is `image_size` there or, as once-for-all publishes it, in a run.config beside the file.
    """
    config = read_json(path, MAX_BYTES)
    if isinstance(config, dict) and "image_size" not in config:
        beside = path.with_name("run.config")
        if not beside.exists():
            raise InvalidInputError(
                f"{path} says no image_size: put the net's run.config beside it, or add image_size to the file"
            )
        config = config | {"image_size": Fields.of(read_json(beside, MAX_BYTES), str(beside)).integer("image_size")}
    try:
        blocks = blocks_of(config)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path} is no net.config of once-for-all: {error}") from error
    hw = blocks[0].hw
    if not isinstance(space, StagedSpace):
        raise InvalidInputError(f"{path} is a net of stages, which {space.name} has not: choose another --space")
    if hw not in space.resolutions:
        raise InvalidInputError(f"{path} is a net for images of {hw} pixels: ask with --resolution {hw}")
    if isinstance([*space.layers(space.largest).values()][-1], PooledLinear):
        *others, pool, linear = blocks
        blocks = (*others, PooledLinear(pool.in_chs, linear.out_chs, pool.hw))
    try:
        return space.arch_of(blocks)
    except InvalidInputError as error:
        likely = space_of_network(blocks)
        remedy = "choose another --space" if likely in ("", space.name) else f"give --space {likely}"
        raise InvalidInputError(f"{path} is no net of {space.name}: {error}; {remedy}") from error


def blocks_of(config: Any) -> tuple[Block, ...]:
    """The blocks a net.config spells out, in order; raises InvalidInputError for what is none, or of another family."""
    net = Fields.of(config, "the net")
    if "name" in net and net.text("name") not in NETWORKS:
        raise InvalidInputError(f"it is a {shown(net.text('name'))}; only {' and '.join(NETWORKS)} are read")
    found: list[Block] = [_conv(net.record("first_conv"), net.integer("image_size", 1, MAX_SIZE))]
    for number, entry in enumerate(net.items("blocks")):
        block = _inverted(Fields.of(entry, f"block {number}"), found[-1].out_hw)
        found.extend([block] if block else [])
    if "final_expand_layer" in net:
        found.append(_conv(net.record("final_expand_layer"), found[-1].out_hw))
        found.append(Pool(found[-1].out_chs, found[-1].out_chs, found[-1].out_hw))
        found.append(_conv(net.record("feature_mix_layer"), 1))
    else:
        found.append(_conv(net.record("feature_mix_layer"), found[-1].out_hw))
        found.append(Pool(found[-1].out_chs, found[-1].out_chs, found[-1].out_hw))
    classifier = net.record("classifier")
    return (*found, Linear(_size(classifier, "in_features"), _size(classifier, "out_features"), 1))


def net_config(blocks: Sequence[Block]) -> Config:
    """once-for-all's description of the net of these blocks, which its own code builds the net from."""
    stem, *middle, classifier = blocks
    convs = [block for block in middle if isinstance(block, Conv)]
    parts = ("final_expand_layer", "feature_mix_layer")[-len(convs) :]
    return {
        "name": "MobileNetV3" if len(convs) == 2 else "ProxylessNASNets",
        "bn": {"momentum": 0.1, "eps": 1e-05 if len(convs) == 2 else 1e-03},
        "first_conv": _conv_config(stem),
        "blocks": [_inverted_config(block) for block in middle if isinstance(block, MBConv)],
        **{part: _conv_config(conv) for part, conv in zip(parts, convs, strict=True)},
        "classifier": {
            "name": "LinearLayer", "in_features": classifier.in_chs, "out_features": classifier.out_chs, "bias": True,
            "use_bn": False, "act_func": None, "dropout_rate": 0, "ops_order": "weight_bn_act",
        },
        "image_size": stem.hw,
    }  # fmt: skip


def _conv(facts: Fields, hw: int) -> Conv:
    if (facts.integer("groups"), facts.integer("dilation"), facts.flag("bias")) != (1, 1, False):
        raise InvalidInputError(f"{facts.source} is a convolution with groups, dilation or bias")
    return Conv(
        _size(facts, "in_channels"), _size(facts, "out_channels"), hw, _size(facts, "kernel_size"),
        _size(facts, "stride"), _act(facts), norm=facts.flag("use_bn"),
    )  # fmt: skip


def _inverted(entry: Fields, hw: int) -> MBConv | None:
    """A block; None for one that was searched away, and is a shortcut alone."""
    branch = "conv" if "conv" in entry else "mobile_inverted_conv"  # newer and older files
    shortcut = entry.values.get("shortcut") is not None
    if entry.values.get(branch, 0) is None or entry.record(branch).values.get("name") == "ZeroLayer":
        if not shortcut:
            raise InvalidInputError(f"{entry.source} has neither layers nor a shortcut")
        return None
    facts = entry.record(branch)
    in_chs, out_chs = _size(facts, "in_channels"), _size(facts, "out_channels")
    if facts.values.get("mid_channels") is None:
        mid_chs = round(in_chs * facts.number("expand_ratio", 0.01, 100))
    else:
        mid_chs = _size(facts, "mid_channels")
    kernel, stride = _size(facts, "kernel_size"), _size(facts, "stride")
    use_se = "use_se" in facts and facts.flag("use_se")  # files of ProxylessNAS do not say
    act = _act(facts) if "act_func" in facts else "relu6"
    block = MBConv(in_chs, out_chs, hw, max(mid_chs, 1), kernel, stride, use_se, act)
    if block.residual != shortcut:
        raise InvalidInputError(
            f"{entry.source} has a shortcut where none belongs, or none where one does: {block.key}"
        )
    return block


def _size(facts: Fields, key: str) -> int:
    return facts.integer(key, 1, MAX_SIZE)


def _act(facts: Fields) -> Act:
    name = facts.text("act_func")
    if name not in ACTS:
        raise facts.wrong("act_func", f"one of {', '.join(ACTS)}")
    return ACTS[name]


def _conv_config(block: Block) -> Config:
    if not isinstance(block, Conv):
        raise InvalidInputError(f"once-for-all has no net with {block.key} in the place of a convolution")
    return {
        "name": "ConvLayer", "kernel_size": block.kernel, "stride": block.stride, "dilation": 1, "groups": 1,
        "bias": False, "has_shuffle": False, "in_channels": block.in_chs, "out_channels": block.out_chs,
        "use_bn": block.norm, "act_func": ACT_NAMES[block.act], "dropout_rate": 0, "ops_order": "weight_bn_act",
    }  # fmt: skip


def _inverted_config(block: MBConv) -> Config:
    widths = {"in_channels": [block.in_chs], "out_channels": [block.out_chs]}
    plain = block.mid_chs == block.in_chs
    return {
        "name": "MobileInvertedResidualBlock",
        "mobile_inverted_conv": {
            "name": "MBInvertedConvLayer", "in_channels": block.in_chs, "out_channels": block.out_chs,
            "kernel_size": block.kernel, "stride": block.stride, "expand_ratio": round(block.mid_chs / block.in_chs),
            "mid_channels": None if plain else block.mid_chs, "act_func": ACT_NAMES[block.act], "use_se": block.se,
        },
        "shortcut": {
            "name": "IdentityLayer", **widths, "use_bn": False, "act_func": None, "dropout_rate": 0,
            "ops_order": "weight_bn_act",
        } if block.residual else None,
    }  # fmt: skip
