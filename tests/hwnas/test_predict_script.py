"""predict.py of a bundle says of a picture what the evaluator says, and of everything else one line."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from hwnas.export.bundle import write_bundle
from hwnas.export.lower import lower
from hwnas.export.parity import run_file
from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.datasets import open_dataset
from hwnas.training.evaluate import recalibrate
from hwnas.training.objective import resized
from hwnas.training.pictures import Pictures
from profilers import formats
from profilers.formats import Form, ModelFile

from .bundles import RECORD, small_bundle, taken

pytest.importorskip("ai_edge_litert")
pytest.importorskip("ai_edge_quantizer")

NAMES = ("a b", "new\nline", "Katze ", "\x1b[31mred", "\udcff", "猫", "", "x\u2028y")
ESCAPED = ("a b", r"new\nline", "Katze ", r"\x1b[31mred", r"\udcff", "猫", "", r"x\u2028y")
SIZES = [(64, 48), (33, 90), (40, 40), (20, 31)]

# Runs a predict.py on one image after the other, as many processes would, without what it is not to need.
MANY = """
import io, json, runpy, sys
from contextlib import redirect_stdout
for name in ("torch", "torchvision", "hwnas", "lut", "profilers", "sklearn", "scipy", "onnx"):
    sys.modules[name] = None
class Out(io.StringIO):
    def reconfigure(self, **_): pass
said, script, images = [], sys.argv[1], sys.argv[2:]
for image in images:
    sys.argv, out = [script, image], Out()
    with redirect_stdout(out):
        runpy.run_path(script, run_name="__main__")
    said.append(out.getvalue().split("\\n")[:-1])
print(json.dumps(said))
"""


def network(name, data_hw, hw):
    """A network of the space for images of `hw` pixels, with norms that suit noise: its answers differ by image."""
    space = open_space(name, resolutions=(hw, data_hw) if hw != data_hw else (hw,), classes=len(NAMES))
    arch = next(a for a in map(space.arch, space.sample(50, np.random.default_rng(1))) if space.resolution(a) == hw)
    torch.manual_seed(0)
    net = Supernet(space).extract(arch)
    recalibrate(net, [torch.randn(32, space.image_chs, hw, hw)])
    return net.eval()


def colour_pictures(hw):
    class Source:
        def __len__(self):
            return 1

    return Pictures("mine", NAMES, dict.fromkeys(("train", "validation", "test"), Source()), (3, hw, hw))


def evaluated(model, dataset, paths, hw):
    """Logits of the file for pictures as the evaluator prepares them."""
    images = []
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
        images.append(dataset._made(picture, "test", 0))
    return run_file(model, resized(torch.from_numpy(np.stack(images)), hw).contiguous().numpy())


def said(folder, paths):
    """What predict.py prints of each picture: pairs of a label and a share."""
    command = [sys.executable, "-I", "-c", MANY, str(folder / "predict.py"), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [[(line[:-7], float(line[-5:])) for line in lines] for lines in json.loads(done.stdout)]


@pytest.fixture
def photographs(tmp_path):
    """JPEG, PNG and other files of several sizes, one of them grey, one with a palette."""
    rng, paths = np.random.default_rng(0), []
    for number, (width, height) in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8))
        picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
        picture = [picture, picture.convert("L"), picture.convert("P"), picture][number]
        paths.append(tmp_path / f"picture{number}.{['jpg', 'jpeg', 'png', 'webp'][number]}")
        picture.save(paths[-1])
    wide = Image.fromarray(rng.integers(0, 2**16, (50, 41), np.uint16))
    wide.save(tmp_path / "wide.png")
    return [*paths, tmp_path / "wide.png"]


@pytest.mark.parametrize(("format", "precision"), [("onnx", "fp32"), ("tflite", "fp32"), ("tflite", "int8")])
@pytest.mark.parametrize("hw", [40, 32], ids=["largest", "smaller"])
def test_a_picture_is_classified_as_the_evaluator_does(tmp_path, photographs, format, precision, hw):
    dataset, net = colour_pictures(40), network("photos", 40, hw)
    noise = np.random.default_rng(0).standard_normal((8, 3, hw, hw), np.float32)
    model = formats.write(lower(net, 2), format, Form(precision), images=noise)
    write_bundle(tmp_path / "one", [model], labels=NAMES, takes=taken(dataset, hw), record=RECORD)
    assert (tmp_path / "one" / "labels.txt").read_text("utf-8") == "".join(f"{name}\n" for name in ESCAPED)
    for logits, lines in zip(
        evaluated(model, dataset, photographs, hw), said(tmp_path / "one", photographs), strict=True
    ):
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        order = np.argsort(-logits)[:3]
        assert [share for _, share in lines] == pytest.approx(shares[order], abs=2e-3)
        assert lines[0][0] == ESCAPED[order[0]]


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("hw", [40, 24], ids=["largest", "smaller"])
def test_a_grey_png_and_an_array_are_classified_as_the_image_they_were_made_from(tmp_path, format, hw):
    dataset, net = open_dataset("digit-pairs"), network("digits", 40, hw)
    model = formats.write(lower(net, 1), format)
    write_bundle(tmp_path / "one", [model], labels=NAMES, takes=taken(dataset, hw), record=RECORD)
    images, _ = dataset.batch("test", 0, 4)
    paths = []
    for number, image in enumerate(images):
        paths += [tmp_path / f"{number}.png", tmp_path / f"{number}.npy", tmp_path / f"small{number}.npy"]
        Image.fromarray((64 * image[0] + 64).astype(np.uint8)).save(paths[-3])
        np.save(paths[-2], image)
        np.save(paths[-1], resized(torch.from_numpy(image[None]), hw)[0].numpy())
    logits = run_file(model, resized(torch.from_numpy(images), hw).contiguous().numpy())
    for number, lines in enumerate(said(tmp_path / "one", paths)):
        mine = logits[number // 3]
        shares = np.exp(mine - mine.max()) / np.exp(mine - mine.max()).sum()
        assert [share for _, share in lines] == pytest.approx(np.sort(shares)[::-1][:3], abs=1e-3)
        assert lines[0][0] == ESCAPED[mine.argmax()]


def refused(place, *arguments, blocked=""):
    """The one line that predict.py ends with."""
    block = f"import runpy, sys; sys.modules.update(dict.fromkeys({blocked.split()!r})); sys.argv = sys.argv[1:]; "
    block += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-I", "-c", block, str(place / "predict.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2) and not done.stdout
    (line,) = done.stderr.splitlines()
    return line


def test_what_cannot_be_classified_is_told_in_one_line(tmp_path):
    place = tmp_path / "one"
    graph = lower(network("digits", 40, 40), 1)
    write_bundle(
        place, [formats.write(graph, "onnx")], labels=NAMES, takes=taken(open_dataset("digit-pairs")), record=RECORD
    )
    for name, array in {
        "flat": np.zeros(1600, np.float32), "bytes": np.zeros((1, 40, 40), np.uint8), "small": np.zeros((1, 8, 8)),
        "colour": np.zeros((3, 40, 40)), "nan": np.full((1, 40, 40), np.nan), "texts": np.array(["a"]),
    }.items():  # fmt: skip
        np.save(tmp_path / f"{name}.npy", array)
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    for name in ("empty.npy", "empty.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "text.png").write_text("no picture")
    assert "usage: python" in refused(place) and "usage: python" in refused(place, "a", "b")
    assert "is no file" in refused(place, tmp_path) and "is no file" in refused(place, tmp_path / "missing.jpg")
    for name in ("flat", "bytes", "small", "colour", "texts"):
        assert "floats (1, 40, 40) are wanted" in refused(place, tmp_path / f"{name}.npy")
    assert "not finite" in refused(place, tmp_path / "nan.npy")
    for name in ("pickle.npy", "empty.npy", "empty.jpg", "text.png"):
        assert "can be read" in refused(place, tmp_path / name)
    Image.new("L", (40, 40)).save(tmp_path / "grey.jpg")
    assert "pip install pillow" in refused(place, tmp_path / "grey.jpg", blocked="PIL")
    assert "pip install onnxruntime" in refused(place, tmp_path / "grey.jpg", blocked="onnxruntime")
    (place / "labels.txt").write_text("one\ntwo")
    assert "labels.txt has 2 lines" in refused(place, tmp_path / "grey.jpg")
    (place / "model.onnx").write_bytes(b"no model")
    assert "cannot be used" in refused(place, tmp_path / "grey.jpg")


def test_a_data_set_that_makes_its_own_tensors_wants_an_array(tmp_path):
    small_bundle(tmp_path / "one")
    Image.new("L", (40, 40)).save(tmp_path / "grey.jpg")
    assert "give a .npy file" in refused(tmp_path / "one", tmp_path / "grey.jpg")


def test_the_first_of_several_models_is_run(tmp_path):
    models = [ModelFile("tflite", b"one"), ModelFile("onnx", b"two")]
    write_bundle(tmp_path, models, labels=NAMES, takes=taken(open_dataset("digit-pairs")), record=RECORD)
    assert 'MODEL = "model.tflite"' in (tmp_path / "predict.py").read_text()
