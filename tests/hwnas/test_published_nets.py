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
        (
            '"act_func": "relu"',
            '"act_func": "tanh"',
            "act_func of .* must be one of relu, relu6, h_swish, not 'tanh'",
        ),
        (
            '"groups": 1',
            '"groups": 2',
            "first_conv of the net is a convolution with groups",
        ),
        (
            '"shortcut": null',
            '"shortcut": {}',
            "block 1 has a shortcut where none belongs",
        ),
        ('"blocks"', '"block"', "the net has no blocks"),
        (r"^\{", "[", "cannot be read as JSON"),
        ('"name": "MobileNetV3"', '"name": "ResNets"', "it is a 'ResNets'; only MobileNetV3 and ProxylessNASNets"),
        ('"stride": 2', '"stride": 0', "stride of first_conv of the net must be a whole number from 1 to"),
        (
            '"kernel_size": 5',
            '"kernel_size": "5"',
            "kernel_size of .* must be a whole number from 1 to .*, not '5'",
        ),
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
    with pytest.raises(InvalidInputError, match=r"block 0 of the net is conv .*; give --space ofa-mbv3$"):
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


def as_published(path, folder):
    """The files of once-for-all's own folder of a net: net.config without an image size, run.config with it."""
    config = json.loads(path.read_text())
    (folder / "run.config").write_text(json.dumps({"n_worker": 8, "image_size": config.pop("image_size")}))
    (folder / "net.config").write_text(json.dumps(config))
    return folder / "net.config"


def test_a_net_is_read_as_once_for_all_publishes_it(shared_data, tmp_path):
    (path,) = published(shared_data, "note10_lat-30ms_*")
    space = space_for(json.loads(path.read_text()))
    theirs = as_published(path, tmp_path)
    assert read_net(theirs, space) == read_net(path, space)
    (tmp_path / "run.config").unlink()
    with pytest.raises(InvalidInputError, match=r"says no image_size: put the net's run.config beside it"):
        read_net(theirs, space)
    (tmp_path / "run.config").write_text('{"image_size": "224"}')
    with pytest.raises(InvalidInputError, match=r"image_size of .*run\.config must be a whole number"):
        read_net(theirs, space)


def test_the_command_line_prices_a_published_net_by_its_own_file(shared_data, tmp_path, hwnas):
    (path,) = published(shared_data, "note10_lat-30ms_*")
    done = hwnas(
        "table", "import", "--device", "note10", *sorted((shared_data / "ofa_note10").glob("*.yaml")),
        "--workspace", tmp_path / "work",
    )  # fmt: skip
    assert done.code == 0
    options = ("--device", "note10", "--space", "ofa-mbv3@1.2", "--resolution", "224", "--workspace", tmp_path / "work")
    found = [hwnas("table", "price", file, *options, "--json") for file in (path, as_published(path, tmp_path))]
    assert found[0].code == found[1].code == 0 and found[0].json == found[1].json


def test_a_block_that_was_searched_away_is_none(tmp_path):
    space = open_space("proxyless")
    (row,) = space.sample(1, np.random.default_rng(0))
    arch = space.arch(row)
    config = net_config(list(space.layers(arch).values()))
    gone = {
        "name": "MobileInvertedResidualBlock",
        "mobile_inverted_conv": {"name": "ZeroLayer", "stride": 1},
        "shortcut": {"name": "IdentityLayer"},
    }
    config["blocks"].insert(2, gone)
    (tmp_path / "net.config").write_text(json.dumps(config))
    found = space.layers(read_net(tmp_path / "net.config", space))
    assert [*found.values()] == [*space.layers(arch).values()]
    config["blocks"][2] = gone | {"shortcut": None}
    (tmp_path / "net.config").write_text(json.dumps(config))
    with pytest.raises(InvalidInputError, match="block 2 has neither layers nor a shortcut"):
        read_net(tmp_path / "net.config", space)
