"""Nets that once-for-all published: its `net.config` files, read as architectures of a space, and written.

A file spells out every layer. What it says is turned into blocks, and these must be the blocks of the architecture
found, one by one: a net of another width, head or activation is refused, never taken for one that is similar.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwnas.arch import Arch
from hwnas.space import SearchSpace
from hwnas.stages import StagedSpace
from lut.blocks import Block, Conv, Linear, MBConv, Pool
from lut.layers import Act
from profilers.errors import InvalidInputError

Config = dict[str, Any]
ACTS: dict[str, Act] = {"relu": "relu", "relu6": "relu6", "h_swish": "hswish"}
ACT_NAMES = {act: name for name, act in ACTS.items()}


def read_net(path: Path, space: SearchSpace) -> Arch:
    """The architecture of `space` that a net.config file describes; raises InvalidInputError if it is none of it."""
    try:
        blocks = blocks_of(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"{path} is no net.config of once-for-all: {error!r}") from error
    hw = blocks[0].hw
    if not isinstance(space, StagedSpace):
        raise InvalidInputError(f"{path} is a net of stages, which {space.name} has not: choose another --space")
    if hw not in space.resolutions:
        raise InvalidInputError(f"{path} is a net for images of {hw} pixels: ask with --resolution {hw}")
    try:
        return space.arch_of(blocks)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path} is no net of {space.name}: {error}; choose another --space") from error


def blocks_of(config: Config) -> tuple[Block, ...]:
    """The blocks a net.config spells out, in order; raises KeyError, TypeError, AttributeError or ValueError."""
    found: list[Block] = [_conv(config["first_conv"], int(config["image_size"]))]
    for entry in config["blocks"]:
        found.append(_inverted(entry, found[-1].out_hw))
    if "final_expand_layer" in config:
        found.append(_conv(config["final_expand_layer"], found[-1].out_hw))
        found.append(Pool(found[-1].out_chs, found[-1].out_chs, found[-1].out_hw))
        found.append(_conv(config["feature_mix_layer"], 1))
    else:
        found.append(_conv(config["feature_mix_layer"], found[-1].out_hw))
        found.append(Pool(found[-1].out_chs, found[-1].out_chs, found[-1].out_hw))
    classifier = config["classifier"]
    return (*found, Linear(int(classifier["in_features"]), int(classifier["out_features"]), 1))


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


def _conv(facts: Config, hw: int) -> Conv:
    if (facts["groups"], facts["dilation"], facts["bias"]) != (1, 1, False):
        raise ValueError("a convolution with groups, dilation or bias")
    return Conv(
        int(facts["in_channels"]), int(facts["out_channels"]), hw, int(facts["kernel_size"]), int(facts["stride"]),
        ACTS[facts["act_func"]], norm=bool(facts["use_bn"]),
    )  # fmt: skip


def _inverted(entry: Config, hw: int) -> MBConv:
    facts = entry["conv"] if "conv" in entry else entry["mobile_inverted_conv"]  # newer and older files
    in_chs = int(facts["in_channels"])
    block = MBConv(
        in_chs, int(facts["out_channels"]), hw, int(facts["mid_channels"] or round(in_chs * facts["expand_ratio"])),
        int(facts["kernel_size"]), int(facts["stride"]), bool(facts["use_se"]), ACTS[facts["act_func"]],
    )  # fmt: skip
    if block.residual != (entry["shortcut"] is not None):
        raise ValueError(f"a shortcut where none belongs, or none where one does: {block.key}")
    return block


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
