"""Trained supernets on disk, and the log of what their subnets were found to be worth."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training import evaluate
from hwnas.training.evaluate import SubnetEvaluator
from hwnas.training.weights import load_supernet, read_tensors, save_supernet
from lut.storage import TornRecordWarning
from profilers.errors import InvalidInputError

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
PLAN = {"recipe": "sandwich", "seed": 3, "lr": 0.1}
ARCHS = [SPACE.arch(row) for row in np.unique(SPACE.sample(4, np.random.default_rng(0)), axis=0)]


@dataclass
class Blobs:
    """Random images of five classes."""

    name: str = "blobs"
    classes: tuple[str, ...] = ("a", "b", "c", "d", "e")
    scaling: str = "as it is"
    shape: tuple[int, int, int] = (1, 8, 8)

    def batch(self, split, index, size):
        rng = np.random.default_rng([len(split), index, size])
        return rng.standard_normal((size, *self.shape), np.float32), rng.integers(0, 5, size)


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    for name, value in {"BATCH": 20, "CALIBRATION_BATCHES": 2, "VALIDATION_BATCHES": 2, "TEST_BATCHES": 2}.items():
        monkeypatch.setattr(evaluate, name, value)


@pytest.fixture
def supernet(tmp_path):
    save_supernet(Supernet(SPACE, seed=3), tmp_path / "supernet", data="blobs", plan=PLAN)
    return tmp_path / "supernet"


@pytest.fixture
def judged(monkeypatch):
    """The accuracies that were really computed, in order."""
    found, real = [], evaluate.accuracy

    def counted(net, batches):
        found.append(real(net, batches))
        return found[-1]

    monkeypatch.setattr(evaluate, "accuracy", counted)
    return found


def evaluator(path, log=None):
    return SubnetEvaluator(load_supernet(path), Blobs(), log or path.with_name("log"))


def test_a_supernet_comes_back_with_every_tensor_and_where_it_came_from(supernet):
    trained, expected = load_supernet(supernet), Supernet(SPACE, seed=3).state_dict()
    found = trained.net.state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)
    assert trained.net.space.vocabulary == SPACE.vocabulary
    assert (trained.data, trained.plan, trained.seed, trained.net.training) == ("blobs", PLAN, 3, False)


def test_other_weights_have_another_digest(supernet, tmp_path):
    save_supernet(Supernet(SPACE, seed=4), tmp_path / "other", data="blobs", plan=PLAN)
    save_supernet(Supernet(SPACE, seed=3), tmp_path / "same", data="blobs", plan=PLAN)
    digests = [load_supernet(path).sha256 for path in (supernet, tmp_path / "other", tmp_path / "same")]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("end", [0, 7, 8, 60, -1])
def test_a_truncated_supernet_is_refused(supernet, end):
    supernet.write_bytes(supernet.read_bytes()[:end])
    with pytest.raises(InvalidInputError, match="damaged or foreign"):
        load_supernet(supernet)


def test_a_supernet_that_is_not_there_or_is_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InvalidInputError, match=str(path)):
            load_supernet(path)


@pytest.mark.parametrize(
    "change",
    [
        {"space": "digits"}, {"space": "ofa-mbv3"}, {"space": "nasnet"}, {"space": None}, {"space": "digits@x"},
        {"classes": 6}, {"classes": "many"}, {"classes": None}, {"resolutions": None}, {"resolutions": ["8"]},
        {"resolutions": [1]}, {"data": ...}, {"plan": ...}, {"plan": 5}, {"space": ...},
    ],
    ids=str,
)  # fmt: skip
def test_weights_that_do_not_fit_their_header_are_refused(supernet, change):
    header = read_tensors(supernet)[1] | change
    header = {key: value for key, value in header.items() if value is not ...}
    supernet.write_bytes(save(load(supernet.read_bytes()), {"hwnas": json.dumps(header)}))
    with pytest.raises(InvalidInputError):
        load_supernet(supernet)


def test_a_safetensors_file_of_somebody_else_is_refused(supernet):
    supernet.write_bytes(save({"weight": torch.ones(2)}))
    with pytest.raises(InvalidInputError, match="damaged or foreign"):
        load_supernet(supernet)


def test_a_subnet_is_judged_once(supernet, judged):
    worker = evaluator(supernet)
    first = [worker.validation_accuracy(arch) for arch in ARCHS]
    assert [worker.validation_accuracy(arch) for arch in ARCHS] == first == judged
    assert len(judged) == len(ARCHS)


def test_what_was_judged_before_is_read_from_the_log(supernet, judged):
    first = [evaluator(supernet).validation_accuracy(arch) for arch in ARCHS]
    judged.clear()
    later = evaluator(supernet)
    assert [later.validation_accuracy(arch) for arch in ARCHS] == first and judged == []


def test_the_log_survives_a_torn_line(supernet, judged):
    first = [evaluator(supernet).validation_accuracy(arch) for arch in ARCHS]
    log = supernet.with_name("log")
    log.write_bytes(log.read_bytes()[:-4])
    judged.clear()
    with pytest.warns(TornRecordWarning):
        worker = evaluator(supernet)
    assert len(worker.known) == len(ARCHS) - 1
    torn = next(arch for arch in ARCHS if arch not in worker.known)
    with pytest.warns(TornRecordWarning):
        worker.validation_accuracy(torn)
    assert [worker.validation_accuracy(arch) for arch in ARCHS] == first and len(judged) == 1
    assert [evaluator(supernet).known[arch] for arch in ARCHS] == first  # without a warning: the line is whole again


def test_a_log_of_other_weights_or_data_is_refused(supernet, tmp_path):
    evaluator(supernet).validation_accuracy(ARCHS[0])
    save_supernet(Supernet(SPACE, seed=4), tmp_path / "other", data="blobs", plan=PLAN)
    with pytest.raises(InvalidInputError, match="another supernet"):
        evaluator(tmp_path / "other")
    with pytest.raises(InvalidInputError, match="another supernet or data set"):
        SubnetEvaluator(load_supernet(supernet), Blobs(name="others"), tmp_path / "log")


@pytest.mark.parametrize("line", [b'{"arch": 5, "accuracy": 1}', b'{"accuracy": 1}', b'{"arch": "x", "accuracy": []}'])
def test_a_damaged_log_is_refused(supernet, tmp_path, line):
    evaluator(supernet)
    with (tmp_path / "log").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InvalidInputError):
        evaluator(supernet)


def test_judging_a_subnet_does_not_change_the_supernet(supernet):
    worker = evaluator(supernet)
    before = {key: value.clone() for key, value in worker.trained.net.state_dict().items()}
    worker.validation_accuracy(ARCHS[0])
    worker.test_accuracy(worker.subnet(ARCHS[1]))
    assert all(torch.equal(value, before[key]) for key, value in worker.trained.net.state_dict().items())


def test_an_accuracy_is_the_share_of_images_whose_label_gets_the_largest_logit(supernet):
    worker = evaluator(supernet)
    net = worker.subnet(ARCHS[0])
    right = total = 0
    for index in range(2):
        images, labels = Blobs().batch("test", index, 20)
        with torch.no_grad():
            for image, label in zip(images, labels, strict=True):
                right += int(net(torch.from_numpy(image[None])).argmax() == label)
                total += 1
    assert worker.test_accuracy(net) == right / total
