"""Trained supernets on disk: they come back as they were, or one line says why not."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load, save

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training import weights
from hwnas.training.weights import DataChangedWarning, load_supernet, read_tensors, save_supernet
from profilers.errors import InvalidInputError

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
PLAN = {"recipe": "sandwich", "seed": 3, "lr": 0.1}


@pytest.fixture
def supernet(tmp_path):
    save_supernet(Supernet(SPACE, seed=3), tmp_path / "supernet", data="blobs", plan=PLAN)
    return tmp_path / "supernet"


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
        {"class_names": 5}, {"class_names": ["a"]}, {"class_names": [1, 2, 3, 4, 5]}, {"listing": 5},
        {"classes": 10**400}, {"classes": float("inf")}, {"classes": 5.0}, {"classes": True}, {"classes": 10**9},
        {"resolutions": "8"}, {"resolutions": [float("nan")]}, {"resolutions": []}, {"resolutions": [8.5]},
        {"space": ["digits@0.1"]}, {"data": 5}, {"data": ["blobs"]}, {"plan": {"seed": -1}}, {"plan": {"seed": 1.5}},
        {"plan": {"steps": "many"}}, {"origin": "file"}, {"origin": {"file": 5}}, {"parts": "all"}, {"parts": [5]},
        {"parts": [{"steps": 1, "time_s": -1, "supernet": ""}]}, {"deep": json.loads("[" * 80 + "]" * 80)},
    ],
    ids=str,
)  # fmt: skip
def test_weights_that_do_not_fit_their_header_are_refused(supernet, change):
    header = read_tensors(supernet)[1] | change
    header = {key: value for key, value in header.items() if value is not ...}
    supernet.write_bytes(save(load(supernet.read_bytes()), {"hwnas": json.dumps(header)}))
    with pytest.raises(InvalidInputError):
        load_supernet(supernet)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_neither_read_nor_written(supernet, value):
    before = supernet.read_bytes()
    net = Supernet(SPACE)
    with torch.no_grad():
        net.state_dict()["slots.stem.layers.conv.weight"].view(-1)[3] = value
    with pytest.raises(InvalidInputError, match=r"slots\.stem\.layers\.conv\.weight holds values that are no finite"):
        save_supernet(net, supernet, data="blobs", plan=PLAN)
    assert supernet.read_bytes() == before
    supernet.write_bytes(save(net.state_dict(), {"hwnas": json.dumps(read_tensors(supernet)[1])}))
    with pytest.raises(InvalidInputError, match="no finite"):
        load_supernet(supernet)


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (torch.tensor([-1e-3]), "variances below 0"), (torch.tensor([3e38 * 10]), "no finite"),
        (torch.ones(1, dtype=torch.int64), "int64 instead"), (torch.ones(1, dtype=torch.bool), "bool instead"),
        (torch.ones(1, dtype=torch.complex64), "complex64 instead"),
    ],
)  # fmt: skip
def test_statistics_that_no_batch_can_have_are_refused(supernet, tensor, told):
    tensors, header = read_tensors(supernet)
    name = "slots.stem.layers.conv.var"
    tensors[name] = tensor.expand(tensors[name].shape).clone()
    supernet.write_bytes(save(tensors, {"hwnas": json.dumps(header)}))
    with pytest.raises(InvalidInputError, match=f"{name} holds .*{told}"):
        load_supernet(supernet)


def test_the_digest_is_of_the_bytes_that_were_read_although_the_file_is_replaced_meanwhile(supernet, monkeypatch):
    expected = hashlib.sha256(supernet.read_bytes()).hexdigest()
    real = weights.load

    def replacing(content):
        save_supernet(Supernet(SPACE, seed=4), supernet, data="blobs", plan=PLAN)
        return real(content)

    monkeypatch.setattr(weights, "load", replacing)
    assert load_supernet(supernet).sha256 == expected


def test_a_safetensors_file_of_somebody_else_is_refused(supernet):
    supernet.write_bytes(save({"weight": torch.ones(2)}))
    with pytest.raises(InvalidInputError, match="damaged or foreign"):
        load_supernet(supernet)


class Blobs:
    """As much of a data set as a supernet's header is made of."""

    name, scaling, shape = "blobs", "as it is", (1, 8, 8)

    def __init__(self, classes, listing=""):
        self.classes, self.listing = tuple(classes), listing


def trained_on(tmp_path, monkeypatch, then, now):
    """The supernet that was trained on one data set, which then becomes another."""
    save_supernet(Supernet(SPACE, seed=3), tmp_path / "supernet", data="blobs", plan=PLAN, dataset=then)
    monkeypatch.setattr("hwnas.training.weights.open_dataset", lambda *_: now)
    return load_supernet(tmp_path / "supernet")


def test_a_supernet_knows_the_classes_it_was_trained_on(tmp_path, monkeypatch):
    then = Blobs("abcde", "digest")
    trained = trained_on(tmp_path, monkeypatch, then, then)
    assert (trained.class_names, trained.listing) == (("a", "b", "c", "d", "e"), "digest")
    assert trained.dataset("") is then


@pytest.mark.parametrize(
    ("now", "wanted"),
    [("abcdx", "x instead of e"), ("abced", "in another order"), ("vwxyz", "v, w, x, y, z instead of a")],
)
def test_other_classes_than_it_was_trained_on_are_refused_by_name(tmp_path, monkeypatch, now, wanted):
    trained = trained_on(tmp_path, monkeypatch, Blobs("abcde"), Blobs(now))
    with pytest.raises(InvalidInputError, match=wanted):
        trained.dataset("")


def test_other_files_of_the_same_classes_are_told(tmp_path, monkeypatch):
    trained = trained_on(tmp_path, monkeypatch, Blobs("abcde", "then"), now := Blobs("abcde", "now"))
    with pytest.warns(DataChangedWarning, match="files of blobs have changed since"):
        assert trained.dataset("") is now


def test_a_supernet_of_which_no_classes_are_known_takes_any(tmp_path, monkeypatch):
    for header in (None, Blobs("abcde")):
        trained = trained_on(tmp_path, monkeypatch, header, now := Blobs("abcde", "now"))
        assert trained.dataset("") is now
