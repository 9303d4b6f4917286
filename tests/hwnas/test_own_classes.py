"""People's own classes go all the way: how many there are comes from the data or the supernet, before all measuring."""

import json
import sys

import pytest

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.supernet_headers import safetensors_header
from hwnas.training.checkpoints import export_checkpoint
from hwnas.training.datasets import canonical
from hwnas.training.weights import load_supernet, save_supernet
from lut.blocks import Block, Linear
from lut.table import LatencyTable
from profilers.device import Device, fingerprint

from ..image_files import skip_without_torchvision, write_folders

SPACE = "digits@0.1"  # few blocks, and gray images
TABLE = "tables/host-fake-fp32-t1-b1.jsonl"
MODULE = """
import torch


class Stripes:
    classes = ["one", "two", "three"]

    def __len__(self):
        return 60

    def __getitem__(self, index):
        if index >= 60:
            raise IndexError(index)
        return torch.full((1, 8, 8), float(index % 3)), index % 3


def make(seed, hw):
    return Stripes()
"""

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a data set of three classes of the user's own, in which the user is."""
    name = f"stripes_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield f"{name}:make"
    sys.modules.pop(name, None)


def heads(path):
    """The class counts of all heads that a table has times of."""
    return {b.out_chs for b in map(Block.parse, filter(is_block, LatencyTable.read(path).visits)) if is_head(b)}


def is_block(name):
    return not name.startswith("net ")


def is_head(block):
    return isinstance(block, Linear)


def test_a_data_set_of_three_classes_goes_from_training_to_a_bundle(hwnas, here, tmp_path):
    of_data = ("--space", SPACE, "--resolution", "8", "--data", here)
    work = ("--workspace", tmp_path / "work", "--json")
    assert hwnas("train", *of_data, "--steps", "2", "--batch", "8", *work).code == 0
    asked = (*of_data, "--runtime", "fake", "--latency", "1s")
    found = hwnas("search", *asked, *work)
    assert found.code == 0, found.err
    assert heads(tmp_path / "work" / TABLE) == {3}
    arch = found.only["arch"]
    for command in (
        ("profile", *of_data, "--runtime", "fake"),
        ("table", "price", arch, *of_data, "--runtime", "fake"),
        ("table", "check", *of_data, "--runtime", "fake"),
        ("evaluate", "--arch", arch, *of_data),
        ("export", "--arch", arch, "--space", SPACE, "--data", here, "--output", tmp_path / "net.onnx"),
    ):
        done = hwnas(*command, *work)
        assert done.code == 0, (command, done.err)
    made = hwnas("specialize", *asked, *work)
    assert made.code == 0, made.err
    folder = tmp_path / made.only["bundle"]
    assert (folder / "labels.txt").read_text().split() == ["one", "two", "three"]
    facts = json.loads((folder / "bundle.json").read_text())
    assert facts["data"] == here and 0 <= facts["accuracy"] <= 1
    priced = hwnas("table", "price", facts["arch"], "--space", SPACE, "--runtime", "fake", *work)
    assert priced.json[0]["arch"] == facts["arch"]  # nothing said of data or size: as the only supernet of the space


def test_without_data_a_command_is_about_the_only_supernet_of_the_space(hwnas, here, tmp_path):
    work = ("--workspace", tmp_path / "work", "--json")
    assert hwnas("train", "--space", SPACE, "--resolution", "8", "--data", here, "--steps", "1", *work).code == 0
    assert hwnas("profile", "--space", SPACE, "--runtime", "fake", *work).code == 0
    assert heads(tmp_path / "work" / TABLE) == {3}
    wrong = hwnas("search", "--space", SPACE, "--runtime", "fake", "--latency", "1s", "--resolution", "16", *work)
    assert wrong.code == 3 and "images of 8 pixels, not of 16: give --resolution 8" in wrong.complaint


def test_of_a_table_for_other_classes_only_the_head_is_measured_anew(hwnas, here, tmp_path):
    options = ("--space", SPACE, "--resolution", "8", "--runtime", "fake", "--workspace", tmp_path / "work", "--json")
    assert hwnas("profile", *options).code == 0
    before = LatencyTable.read(tmp_path / "work" / TABLE)
    done = hwnas("profile", *options, "--data", here)
    assert done.code == 0 and done.only["measured_models"] == 1
    after = LatencyTable.read(tmp_path / "work" / TABLE)
    assert heads(after.path) == {3, 100} and after.nets == before.nets


def test_one_architecture_with_two_heads_is_two_nets_of_one_table(tmp_path):
    spaces = [open_space(SPACE, resolutions=(8,), classes=classes) for classes in (3, 100)]
    nets = [list(space.layers(space.smallest).values()) for space in spaces]
    device = Device(name="toy", runtime="fake")
    table = LatencyTable.open(tmp_path / "table.jsonl", "toy", fingerprint(device))
    with table.writing():
        names = [table.add_net("net a:1", blocks) for blocks in (*nets, *nets)]
    assert names == ["net a:1", "net a:1 #2"] * 2
    found = LatencyTable.read(table.path).nets
    assert [found[name] for name in names[:2]] == [tuple(block.key for block in net) for net in nets]


def test_an_imported_supernet_says_how_many_classes_there_are(hwnas, here, tmp_path):
    space = open_space(SPACE, resolutions=(8,), classes=3)
    export_checkpoint(Supernet(space, seed=1).eval(), tmp_path / "published.pth")
    work = ("--workspace", tmp_path / "work", "--json")
    brought = hwnas(
        "supernet", "import", tmp_path / "published.pth", "--space", SPACE, "--classes", "3", "--resolution", "8", *work
    )
    assert brought.code == 0
    assert hwnas("profile", "--space", SPACE, "--runtime", "fake", *work).code == 0
    assert heads(tmp_path / "work" / TABLE) == {3}
    asked = ("--space", SPACE, "--runtime", "fake", "--latency", "1s", *work)
    nobody = hwnas("specialize", *asked)
    assert nobody.code == 3 and "does not say what it was trained on: give --data" in nobody.complaint
    assert hwnas("specialize", *asked, "--data", here).code == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--resolution", "16"), "was trained for images of 8 pixels, not of 16"),
        (("--data", "digit-pairs"), "digit-pairs has 100 classes, and "),
        (("--algorithm", "toast"), "unknown search algorithm"),
        (("--precision", "int3"), "unknown precision"),
        (("--macs", "none"), "is no count"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_measured(hwnas, tmp_path, files, options, told):
    space = open_space(SPACE, resolutions=(8,), classes=3)
    path = tmp_path / "supernets" / f"{SPACE}-imported" / "supernet.safetensors"
    path.parent.mkdir(parents=True)
    save_supernet(Supernet(space), path, data="", plan={}, origin={"file": "published.pth"})
    before = files(tmp_path)
    asked = ("search", "--space", SPACE, "--runtime", "fake", "--latency", "1s", "--workspace", tmp_path)
    done = hwnas(*asked, *options)
    assert done.code == 3 and told in done.refusal and "measuring" not in done.err
    assert files(tmp_path) == before


class TestPaths:
    """Data are known by what they hold, not by how their path was typed."""

    @pytest.fixture
    def photos(self, tmp_path, monkeypatch):
        skip_without_torchvision()
        write_folders(tmp_path / "photos", "train", "val", classes=2, each=12, hw=40)
        (tmp_path / "link").symlink_to(tmp_path / "photos")
        monkeypatch.chdir(tmp_path)
        return tmp_path / "photos"

    def test_a_folder_has_one_name_however_it_is_typed(self, photos):
        typed = ("photos", "./photos/", "link", "photos/../photos", str(photos))
        assert {canonical(f"imagefolder:{path}") for path in typed} == {f"imagefolder:{photos.resolve()}"}
        assert [canonical(name) for name in ("digit-pairs", "mine:make", "a b:c")] == [
            "digit-pairs",
            "mine:make",
            "a b:c",
        ]

    def test_all_spellings_find_one_supernet(self, hwnas, photos, tmp_path):
        options = ("--space", "ofa-mbv3@0.1", "--resolution", "32", "--steps", "1", "--batch", "2")
        work = ("--workspace", tmp_path / "work", "--json")
        first = hwnas("train", *options, "--data", "imagefolder:photos", *work)
        assert first.code == 0, first.err
        for path in ("./photos/", "link", str(photos)):
            again = hwnas("train", *options, "--data", f"imagefolder:{path}", *work)
            assert again.code == 0 and again.json["sha256"] == first.json["sha256"]
        assert len(list((tmp_path / "work" / "supernets").glob("*/supernet.safetensors"))) == 1

    def test_a_supernet_that_an_earlier_version_named_after_the_path_as_typed_is_found(self, photos, tmp_path):
        from hwnas.workspace import Workspace

        old = tmp_path / "work" / "supernets" / "ofa-mbv3-imagefolder-0123abcd" / "supernet.safetensors"
        old.parent.mkdir(parents=True)
        save_supernet(
            Supernet(open_space(SPACE, resolutions=(8,), classes=3)), old, data="imagefolder:./photos/", plan={}
        )
        place = Workspace(tmp_path / "work")
        assert place.supernet(SPACE, "imagefolder:link") == old
        assert place.supernet(SPACE, f"imagefolder:{photos}") == old
        assert place.supernet(SPACE, "imagefolder:elsewhere") != old
        assert load_supernet(old).data == safetensors_header(old)["data"] == "imagefolder:./photos/"
