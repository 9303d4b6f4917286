"""A subnet comes in every format and precision, and a bundle's predict.py says of an image what the file says."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hwnas.cli import main
from hwnas.export.bundle import write_bundle
from hwnas.export.lower import lower
from hwnas.export.parity import run_file
from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training import evaluate
from hwnas.training.datasets import open_dataset
from profilers import backends, formats
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.formats import PRECISIONS, ModelFile

from .bundles import RECORD, taken

pytest.importorskip("ai_edge_litert")
pytest.importorskip("ai_edge_quantizer")

DIGITS, DATASET = open_space("digits"), open_dataset("digit-pairs")
FORMS = list(product(formats.names(), PRECISIONS))
RUNTIMES = {"onnx": {"onnxruntime"}, "tflite": {"ai_edge_litert", "tflite_runtime"}}

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


@pytest.fixture(scope="module")
def exported(prepared, tmp_path_factory):
    """What `hwnas export` says of one subnet's file and the file itself, made once for each form."""
    folder, found = tmp_path_factory.mktemp("exported"), {}

    def export(format, precision, capsys):
        if (format, precision) not in found:
            output = folder / precision / f"net.{format}"
            arguments = ("--arch", DIGITS.smallest, "--output", output, "--precision", precision)
            capsys.readouterr()
            assert main(["export", *map(str, arguments), "--workspace", str(prepared), "--json"]) == 0
            found[format, precision] = capsys.readouterr().out, ModelFile(format, output.read_bytes())
        return found[format, precision]

    return export


@pytest.fixture
def facts(exported, capsys):
    return lambda format, precision: json.loads(exported(format, precision, capsys)[0])


@pytest.fixture
def model(exported, capsys):
    return lambda format, precision: exported(format, precision, capsys)[1]


@pytest.mark.parametrize(("format", "precision"), FORMS)
def test_the_accuracy_told_is_that_of_the_exported_file(facts, model, format, precision):
    found = facts(format, precision)
    assert set(found) == {"arch", "file", "max_difference", "test_accuracy", "validation_accuracy"}
    assert found["arch"] == str(DIGITS.smallest) and Path(found["file"]).suffix == f".{format}"
    assert 0 <= found["max_difference"] <= 1e-4
    images, labels = DATASET.batch("test", 0, evaluate.BATCH * evaluate.TEST_BATCHES)
    right = run_file(model(format, precision), images).argmax(axis=1) == labels
    assert found["test_accuracy"] == pytest.approx(right.mean())


def test_all_float_files_of_a_subnet_compute_the_same(model):
    images, _ = DATASET.batch("test", 0, 8)
    logits = [run_file(model(format, "fp32"), images) for format in formats.names()]
    assert all(np.abs(other - logits[0]).max() <= 2e-4 for other in logits[1:])  # each is within 1e-4 of the net


@pytest.mark.parametrize("format", formats.names())
def test_an_int8_file_is_another_smaller_one_that_takes_float_images(model, format):
    single, eight_bit = model(format, "fp32"), model(format, "int8")
    assert len(eight_bit.content) < len(single.content)
    images, _ = DATASET.batch("test", 0, 8)
    logits = run_file(eight_bit, images)
    assert logits.shape == (8, len(DATASET.classes)) and np.isfinite(logits).all()
    assert (logits != run_file(single, images)).any()


@pytest.mark.parametrize("runtime", backends.names())
def test_a_runtime_runs_the_files_of_its_format_in_its_precisions(model, runtime):
    backend = backends.load(runtime)
    try:
        backend.version()
    except DeviceError as error:
        pytest.skip(str(error))
    for precision in backend.PRECISIONS:
        device = Device(name="any", runtime=runtime, precision=precision)
        assert backend.load(model(backend.FORMAT, precision).content, device)() > 0


def test_the_bundle_of_a_net_holds_it_in_every_format(model, tmp_path):
    models = [model(format, "fp32") for format in formats.names()]
    digests = write_bundle(tmp_path / "bundle", models, labels=["a"], takes=taken(DATASET), record=RECORD).files
    assert set(digests) == {"labels.txt", "predict.py", *(f"model.{format}" for format in formats.names())}
    assert all((tmp_path / "bundle" / f"model.{m.format}").read_bytes() == m.content for m in models)


BLOCKED = """
import runpy, sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def predictions(folder, models, image):
    """What predict.py of a bundle whose first model is the first of these prints, without any other runtime."""
    write_bundle(folder, models, labels=DATASET.classes, takes=taken(DATASET), record=RECORD)
    np.save(folder / "image.npy", image)
    others = set().union(*(names for format, names in RUNTIMES.items() if format != models[0].format))
    blocked = ",".join(["torch", "hwnas", "lut", "profilers", "sklearn", "scipy", "safetensors", "onnx", *others])
    command = [sys.executable, "-I", "-c", BLOCKED, blocked, str(folder / "predict.py"), str(folder / "image.npy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return [(label, float(share)) for label, share in map(str.split, done.stdout.splitlines())]


@pytest.mark.parametrize(("first", "precision"), FORMS)
def test_predict_py_says_what_the_first_file_says(model, tmp_path, first, precision):
    models = [model(format, precision) for format in sorted(formats.names(), key=lambda name: name != first)]
    image = DATASET.batch("test", 0, 1)[0][0]
    logits = run_file(models[0], image[None])[0]
    shares = np.sort(np.exp(logits) / np.exp(logits).sum())[::-1]
    said = predictions(tmp_path / "bundle", models, image)
    assert [label for label, _ in said] == [DATASET.classes[i] for i in np.argsort(-logits)[:3]]
    assert [share for _, share in said] == pytest.approx(shares[:3], abs=6e-4)  # they are printed to three digits


def test_predict_py_says_the_same_of_an_image_whichever_format_comes_first(model, tmp_path):
    models = [model(format, "fp32") for format in formats.names()]
    images, _ = DATASET.batch("test", 0, 3)
    for number, image in enumerate(images):
        said = [predictions(tmp_path / f"{number}-{m.format}", [m], image) for m in models]
        assert all([label for label, _ in other] == [label for label, _ in said[0]] for other in said[1:])


def test_predict_py_of_a_file_for_several_images_takes_one(model, tmp_path):
    image = DATASET.batch("test", 0, 1)[0][0]
    graph = lower(Supernet(DIGITS).eval().extract(DIGITS.smallest), batch=3)
    said = [predictions(tmp_path / f, [formats.write(graph, f)], image) for f in formats.names()]
    assert [label for label, _ in said[0]] == [label for label, _ in said[1]]


def test_a_precision_that_nothing_writes_is_answered_with_those_there_are(hwnas, workspace, tmp_path):
    done = hwnas(
        "export", "--arch", DIGITS.smallest, "--precision", "fp8", "--output", tmp_path / "net.onnx",
        "--workspace", workspace,
    )  # fmt: skip
    assert done.code == 3 and "'fp8': there is fp32, int8" in done.refusal
    assert not (tmp_path / "net.onnx").exists()
