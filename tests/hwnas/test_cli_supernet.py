"""`hwnas supernet`: published supernets come into a workspace, are used there, and leave it as they came."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.checkpoints import export_checkpoint, import_checkpoint
from hwnas.training.weights import load_supernet, shipped_supernet
from profilers.errors import InvalidInputError

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
KEPT = "supernets/digits@0.1-imported/supernet.safetensors"

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def checkpoint(tmp_path):
    """A supernet and a published file of it."""
    net, path = Supernet(SPACE, seed=7).eval(), tmp_path / "published.pth"
    export_checkpoint(net, path)
    return net, path


def state_dict(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)["state_dict"]


def same_tensors(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def imported(hwnas, path, *more):
    options = ("--space", "digits", "--width", "0.1", "--classes", "5", "--resolution", "8")
    return hwnas("supernet", "import", path, *options, *more)


def test_an_imported_supernet_is_kept_with_where_it_came_from(hwnas, checkpoint, tmp_path):
    net, path = checkpoint
    done = imported(hwnas, path, "--workspace", tmp_path, "--json")
    assert done.code == 0
    trained = load_supernet(tmp_path / KEPT)
    origin = {"file": "published.pth", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert trained.origin == done.json["origin"] == origin and done.json["supernet"] == str(trained.path)
    assert (trained.data, trained.plan, trained.net.training) == ("", {}, False)
    assert trained.net.space.classes == 5 and same_tensors(trained.net.state_dict(), net.state_dict())


def test_an_import_does_not_replace_an_earlier_one(hwnas, checkpoint, tmp_path):
    assert imported(hwnas, checkpoint[1], "--workspace", tmp_path).code == 0
    before = (tmp_path / KEPT).read_bytes()
    other = tmp_path / "other.pth"
    export_checkpoint(Supernet(SPACE, seed=8).eval(), other)
    done = imported(hwnas, other, "--workspace", tmp_path)
    assert done.code == 3 and "is there already, imported from published.pth" in done.refusal
    assert imported(hwnas, checkpoint[1], "--workspace", tmp_path, "--resolution", "16").code == 3
    assert (tmp_path / KEPT).read_bytes() == before


def test_an_import_that_was_killed_behind_its_write_succeeds_again(hwnas, checkpoint, tmp_path):
    first, second = (imported(hwnas, checkpoint[1], "--workspace", tmp_path, "--json") for _ in range(2))
    assert (first.code, second.code) == (0, 0) and first.json == second.json


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_supernet_that_comes_along_goes_out_and_in_again(hwnas, tmp_path, suffix):
    out, where = tmp_path / f"out{suffix}", ("--space", "digits", "--workspace", tmp_path)
    assert hwnas("supernet", "export", out, "--data", "digit-pairs", *where).code == 0
    done = hwnas("supernet", "import", out, "--classes", "100", *where, "--json")
    assert done.code == 0
    shipped = load_supernet(shipped_supernet(open_space("digits"), "digit-pairs"))
    assert same_tensors(load_supernet(Path(done.json["supernet"])).net.state_dict(), shipped.net.state_dict())


def test_a_refused_import_leaves_nothing_behind(hwnas, checkpoint, tmp_path):
    done = imported(hwnas, checkpoint[1], "--workspace", tmp_path / "work", "--classes", "6")
    assert done.code == 3 and "--classes 5" in done.refusal and not (tmp_path / "work").exists()


def test_a_width_is_given_once(hwnas, checkpoint):
    done = hwnas("supernet", "import", checkpoint[1], "--space", "digits@0.1", "--width", "0.1")
    assert done.code == 2 and "has a width already" in done.err


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_supernet_goes_out_of_a_workspace_as_it_came_in(hwnas, checkpoint, tmp_path, suffix):
    where = ("--workspace", tmp_path)
    assert imported(hwnas, checkpoint[1], *where).code == 0
    done = hwnas("supernet", "export", tmp_path / f"out{suffix}", "--space", SPACE.name, *where)
    assert done.code == 0
    assert same_tensors(state_dict(tmp_path / f"out{suffix}"), state_dict(checkpoint[1]))


def test_a_supernet_that_was_trained_here_is_exported_too(hwnas, workspace, tmp_path):
    done = hwnas(
        "supernet",
        "export",
        tmp_path / "out.pth",
        "--space",
        "digits",
        "--data",
        "digit-pairs",
        "--workspace",
        workspace,
    )
    assert done.code == 0
    trained = load_supernet(workspace / "supernets" / "digits-digit-pairs" / "supernet.safetensors")
    found = import_checkpoint(tmp_path / "out.pth", open_space("digits", classes=100))
    assert same_tensors(found.state_dict(), trained.net.state_dict())


def test_an_imported_supernet_asks_for_the_data_that_nobody_knows(hwnas, checkpoint, tmp_path):
    assert imported(hwnas, checkpoint[1], "--workspace", tmp_path).code == 0
    trained = load_supernet(tmp_path / KEPT)
    with pytest.raises(InvalidInputError, match=r"published\.pth.*give --data"):
        trained.dataset("")
    with pytest.raises(InvalidInputError, match=r"digit-pairs has images of 1x8x8 and 100 classes.*tells 5 apart"):
        trained.dataset("digit-pairs")


def test_a_subnet_of_an_imported_supernet_is_exported_without_any_data(hwnas, checkpoint, tmp_path):
    assert imported(hwnas, checkpoint[1], "--workspace", tmp_path).code == 0
    options = ("--space", SPACE.name, "--arch", SPACE.smallest, "--workspace", tmp_path, "--json")
    done = hwnas("export", *options, "--output", tmp_path / "net.onnx")
    assert done.code == 0 and done.json.keys() == {"arch", "file", "max_difference"}
    assert "give --data" in done.err
    images = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = checkpoint[0](images, SPACE.smallest).numpy()
    np.testing.assert_allclose(run_file(tmp_path / "net.onnx", images.numpy()), expected, atol=1e-5)


def run_file(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": image[None]})[0] for image in images])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--precision", "int8"), "int8 scales are made from images"),
        (("--data", "digit-pairs"), "digit-pairs has 100 classes, and "),
        (("--data", "elsewhere"), "unknown data set 'elsewhere'"),
    ],
)
def test_what_needs_data_says_so(hwnas, checkpoint, tmp_path, options, told):
    assert imported(hwnas, checkpoint[1], "--workspace", tmp_path).code == 0
    where = ("--space", SPACE.name, "--arch", SPACE.smallest, "--workspace", tmp_path)
    done = hwnas("export", *where, *options, "--output", tmp_path / "net.onnx")
    assert done.code == 3 and told in done.refusal and not (tmp_path / "net.onnx").exists()


def test_an_imported_supernet_is_judged_on_the_data_that_are_asked_for(
    hwnas, supernet, workspace, tmp_path, few_images
):
    """The supernet that was trained here, as if somebody else had: the same files come of it."""
    where = ("--space", "digits", "--workspace")
    assert hwnas("supernet", "export", tmp_path / "out.pth", "--data", "digit-pairs", *where, workspace).code == 0
    options = ("--classes", "100", *where, tmp_path)
    assert hwnas("supernet", "import", tmp_path / "out.pth", *options).code == 0
    arch, found = open_space("digits").smallest, []
    for folder in (workspace, tmp_path):
        output = tmp_path / f"{len(found)}.onnx"
        done = hwnas("export", "--arch", arch, "--data", "digit-pairs", "--output", output, *where, folder, "--json")
        assert done.code == 0
        found.append((done.json["validation_accuracy"], done.json["test_accuracy"], output.read_bytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize(("file", "space"), [("mobilenet_v3", "ofa-mbv3"), ("proxylessnas", "ofa-proxyless")])
def test_a_file_exported_from_once_for_all_s_weights_computes_what_once_for_all_does(
    hwnas, shared_data, tmp_path, file, space
):
    path = shared_data / "ofa_golden" / f"{file}.npz"
    golden = np.load(path)
    hw = golden["x"].shape[-1]
    options = ("--space", space, "--width", "0.25", "--classes", "10", "--resolution", str(hw), "--workspace", tmp_path)
    assert hwnas("supernet", "import", path, *options).code == 0
    largest = open_space(f"{space}@0.25", resolutions=(hw,)).largest
    number = [(net["ks"], net["e"], net["d"]) for net in json.loads(str(golden["subnets"]))].index((7, 6, 4))
    where = ("--space", f"{space}@0.25", "--workspace", tmp_path)
    assert hwnas("export", "--arch", largest, "--output", tmp_path / "net.onnx", *where).code == 0
    found = run_file(tmp_path / "net.onnx", golden["x"])
    np.testing.assert_allclose(found, golden["y"][number], rtol=0, atol=1e-5)
