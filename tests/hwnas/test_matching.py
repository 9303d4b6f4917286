"""Blocks of somebody else's are known by their channel counts: which space they are of, and at which width."""

import json

import pytest

from hwnas.matching import space_of_network, space_of_table
from hwnas.pricing import latency_model
from hwnas.published import net_config, read_net
from hwnas.spaces import open_space
from lut.blocks import Linear
from lut.importers import ofa, read_published
from lut.published import published_fingerprint
from lut.table import LatencyTable
from profilers.errors import InvalidInputError
from profilers.reading import read_json

WIDTHS = ("ofa-mbv3", "ofa-mbv3@1.2", "ofa-mbv3@0.35", "ofa-proxyless@1.3", "proxyless", "digits", "photos@0.5")


@pytest.mark.parametrize("name", WIDTHS)
def test_a_space_is_known_by_its_blocks_also_without_a_kernel_and_at_other_sizes_and_classes(name):
    space = open_space(name, resolutions=(64, 96), classes=7)
    blocks = [block for block in space.vocabulary if getattr(block, "kernel", 0) != 7]
    assert space_of_table(blocks) == name == space_of_network(space.layers(space.smallest).values())
    assert space_of_table([block for block in blocks if not isinstance(block, Linear)]) == ""


def test_of_widths_with_the_same_channels_the_one_asked_for_is_taken():
    one, same = open_space("digits"), open_space("digits@0.999")
    assert [b.key for b in one.vocabulary] == [b.key for b in same.vocabulary]
    assert space_of_table(one.vocabulary, same) == "digits@0.999" and space_of_table(one.vocabulary) == "digits"


@pytest.fixture
def table(tmp_path):
    """A published table of width 1.2, made here, without its largest kernel."""
    path = tmp_path / "1.2.yaml"
    keys = [ofa.key_of(b) for b in open_space("ofa-mbv3@1.2").vocabulary if getattr(b, "kernel", 0) != 7]
    path.write_text("".join(f"{key}:\n  count: 1\n  mean: 1.0\n" for key in keys))
    made = LatencyTable.open(tmp_path / "table.jsonl", "phone", published_fingerprint("phone"))
    made.add_published((path.name, entry) for entry in read_published("ofa", [path]))
    return made


@pytest.mark.parametrize(("asked", "needed"), [("ofa-mbv3", None), ("ofa-mbv3@1.5", ()), ("ofa-proxyless", None)])
def test_a_published_table_of_another_width_is_said_to_be_that(table, asked, needed):
    with pytest.raises(InvalidInputError, match=f"give --space ofa-mbv3@1.2, or import a table of {asked}$"):
        latency_model(table, open_space(asked), needed=needed)


def test_one_of_the_width_asked_for_that_has_holes_is_not(table):
    with pytest.raises(InvalidInputError, match=r"\(all of kernel 7\); import a file that has them"):
        latency_model(table, open_space("ofa-mbv3@1.2"))


def test_a_network_of_another_width_is_answered_with_its_space(tmp_path):
    space, path = open_space("ofa-mbv3@1.2"), tmp_path / "net.config"
    path.write_text(json.dumps(net_config(list(space.layers(space.smallest).values()))))
    assert read_json(path, 1 << 20)["image_size"] == 224 and read_net(path, space) == space.smallest
    with pytest.raises(InvalidInputError, match=r"give --space ofa-mbv3@1\.2$"):
        read_net(path, open_space("ofa-mbv3"))
