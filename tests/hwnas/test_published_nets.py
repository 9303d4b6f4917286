"""The nets that once-for-all published, read into our spaces, against what their names say of them."""

import json
import re

import numpy as np
import pytest

from hwnas.arch import Arch
from hwnas.published import blocks_of, net_config, read_net
from hwnas.spaces import open_space
from profilers.errors import InvalidInputError

WIDTH = {16: "ofa-mbv3", 24: "ofa-mbv3@1.2"}  # by the stem's channels


def published(shared_data, pattern="*"):
    found = sorted((shared_data / "ofa_published").glob(f"{pattern}.json"))
    assert found, pattern
    return found


def space_for(config, **more):
    return open_space(WIDTH[config["first_conv"]["out_channels"]], resolutions=(config["image_size"],), **more)


def without_dropout(config):
    """Dropout is a setting of their training, and no part of the net."""
    return config | {"classifier": config["classifier"] | {"dropout_rate": 0}}


def test_every_published_net_is_an_architecture_of_ours_and_described_again_as_it_was(shared_data):
    paths = published(shared_data)
    assert len(paths) == 18
    for path in paths:
        config = json.loads(path.read_text())
        space = space_for(config)
        arch = read_net(path, space)
        assert net_config(list(space.layers(arch).values())) == without_dropout(config)


@pytest.mark.parametrize("macs_m", [389, 482, 595])
def test_a_net_named_by_its_macs_comes_out_at_them(shared_data, macs_m):
    (path,) = published(shared_data, f"flops-{macs_m}M_*")
    space = space_for(json.loads(path.read_text()))
    macs = sum(block.macs for block in space.layers(read_net(path, space)).values())
    assert macs / 1e6 == pytest.approx(macs_m, rel=0.005)


def test_newer_files_call_the_branch_of_a_block_otherwise(shared_data, tmp_path):
    (path,) = published(shared_data, "note10_lat-30ms_*")
    config = json.loads(path.read_text())
    newer = tmp_path / "newer.json"
    newer.write_text(path.read_text().replace('"mobile_inverted_conv"', '"conv"'))
    assert read_net(newer, space_for(config)) == read_net(path, space_for(config))


@pytest.mark.parametrize("name", ["ofa-mbv3@1.2", "ofa-proxyless@1.3"])
def test_a_net_that_was_described_is_read_back_as_itself(tmp_path, name):
    space = open_space(name, resolutions=(160, 224))
    for row in space.sample(20, np.random.default_rng(0)):
        arch, path = space.arch(row), tmp_path / "net.json"
        path.write_text(json.dumps(net_config(list(space.layers(arch).values()))))
        assert read_net(path, space) == arch


@pytest.mark.parametrize(
    ("pattern", "by", "complaint"),
    [
        ('"act_func": "relu"', '"act_func": "h_swish"', "block 1 of the net is mbconv"),
        ('"out_features": 1000', '"out_features": 10', "block 20 of the net is linear"),
        ('"kernel_size": 5', '"kernel_size": 9', "kernel is 9, not one of"),
        ('"use_se": true', '"use_se": false', "no net of ofa-mbv3@1.2"),
        ('"image_size": 224', '"image_size": 225', "ask with --resolution 225"),
        ('"act_func": "relu"', '"act_func": "tanh"', "no net.config of once-for-all: KeyError"),
        ('"groups": 1', '"groups": 2', "no net.config of once-for-all: ValueError"),
        ('"shortcut": null', '"shortcut": {}', "no net.config of once-for-all: ValueError"),
        ('"blocks"', '"block"', "no net.config of once-for-all: KeyError"),
        (r"^\{", "[", "no net.config of once-for-all"),
    ],
)
def test_a_net_that_is_none_of_the_space_is_refused_with_what_differs(shared_data, tmp_path, pattern, by, complaint):
    (path,) = published(shared_data, "note10_lat-30ms_*")
    text = json.dumps(json.loads(path.read_text()))
    changed = tmp_path / "net.json"
    changed.write_text(re.sub(pattern, by, text, count=1))
    assert changed.read_text() != text
    with pytest.raises(InvalidInputError, match=complaint) as refused:
        read_net(changed, open_space("ofa-mbv3@1.2"))
    assert str(changed) in str(refused.value)


def test_a_net_of_another_width_is_refused(shared_data):
    (path,) = published(shared_data, "note10_lat-22ms_*")  # of width 1
    with pytest.raises(InvalidInputError, match=r"block 0 of the net is conv .* choose another --space"):
        read_net(path, open_space("ofa-mbv3@1.2"))


def test_a_net_that_ends_early_is_refused(shared_data):
    (path,) = published(shared_data, "note10_lat-30ms_*")
    space = open_space("ofa-mbv3@1.2")
    blocks = blocks_of(json.loads(path.read_text()))
    assert space.arch_of(blocks) == read_net(path, space)
    with pytest.raises(InvalidInputError, match="ends after 20 blocks"):
        space.arch_of(blocks[:-1])


def stored_arch(space, subnet):
    """A subnet as the golden vectors list it: kernels and expansions of 21 blocks, depths of 6 stages."""
    kernels, expands, depths = (
        found if isinstance(found, list) else [found] * count
        for found, count in ((subnet["ks"], 21), (subnet["e"], 21), (subnet["d"], 6))
    )
    knobs = [knob for pair in zip(kernels, expands, strict=True) for knob in pair]
    values = list(space.resolutions)
    for stage, depth in enumerate(depths[:5]):
        values += [depth, *knobs[8 * stage : 8 * stage + 8]]
    return Arch(space.name, (*values, *knobs[40:]))


def test_proxyless_subnets_have_the_parameters_that_once_for_all_counts(shared_data):
    golden = np.load(shared_data / "ofa_golden" / "proxylessnas.npz")
    space = open_space("ofa-proxyless@0.25", resolutions=(golden["x"].shape[-1],), classes=10)
    subnets = json.loads(str(golden["subnets"]))
    assert len(subnets) == 8
    for subnet in subnets:
        arch = stored_arch(space, subnet)
        space.row(arch)
        assert sum(block.params for block in space.layers(arch).values()) == subnet["params"]
