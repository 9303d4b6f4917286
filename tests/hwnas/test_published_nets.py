"""OFA's published specialised nets, read into our space, against what their names say of them."""

import json
import re

import pytest

from hwnas.arch import Arch
from hwnas.spaces import open_space


def arch_of(config):
    """A published net.config as our space and arch; knobs of absent blocks take the first choice."""
    space = open_space("ofa-mbv3@1.2", resolutions=(config["image_size"],))
    stages = []
    for block in config["blocks"][1:]:
        conv = block["mobile_inverted_conv"]
        if conv["stride"] == 2 or conv["in_channels"] != conv["out_channels"]:
            stages.append([])
        stages[-1].append((conv["kernel_size"], conv["expand_ratio"]))
    values = [config["image_size"]]
    for stage in stages:
        absent = [(3, 3)] * (4 - len(stage))
        values += [len(stage), *(knob for block in stage + absent for knob in block)]
    return space, Arch(space.name, tuple(values))


@pytest.mark.parametrize("macs_m", [389, 482, 595])
def test_a_net_named_by_its_macs_comes_out_at_them(shared_data, macs_m):
    (path,) = (shared_data / "ofa_published").glob(f"flops-{macs_m}M_*.json")
    space, arch = arch_of(json.loads(path.read_text()))
    assert sum(block.macs for block in space.layers(arch).values()) / 1e6 == pytest.approx(macs_m, rel=0.005)


def test_the_published_table_prices_a_net_at_the_latency_in_its_name(shared_data):
    """Which holds only if every block of ours is the block that the table's authors measured."""
    (path,) = (shared_data / "ofa_published").glob("note10_lat-30ms_*.json")
    config = json.loads(path.read_text())
    space, arch = arch_of(config)
    text = (shared_data / "ofa_note10" / f"{config['image_size']}_lookup_table.yaml").read_text()
    means = {key: float(mean) for key, mean in re.findall(r"^(\S+):\n  count: .*\n  mean: (\S+)", text, re.MULTILINE)}
    blocks = space.layers(arch)
    assert sum(means[published_key(slot, block)] for slot, block in blocks.items()) == pytest.approx(29.97, rel=0.001)


def published_key(slot, block):
    ends = f"input:{block.hw}x{block.hw}x{block.in_chs}-output:{block.out_hw}x{block.out_hw}x{block.out_chs}"
    fixed = {"stem": "Conv", "final_expand": "Conv_1", "pool": "AvgPool2D", "feature_mix": "Conv_2"}
    if slot in fixed:
        return f"{fixed[slot]}-{ends}"
    if slot == "classifier":
        return f"Logits-input:1x1x{block.in_chs}-output:{block.out_chs}"
    knobs = {
        "expand": block.mid_chs, "kernel": block.kernel, "stride": block.stride, "idskip": int(block.residual),
        "se": int(block.se), "hs": int(block.act == "hswish"),
    }  # fmt: skip
    return f"expanded_conv-{ends}-" + "-".join(f"{name}:{value}" for name, value in knobs.items())
