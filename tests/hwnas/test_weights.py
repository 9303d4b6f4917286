"""Trained supernets on disk: they come back as they were, or one line says why not."""

import json

import pytest
import torch
from safetensors.torch import load, save

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
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
        {"class_names": 5}, {"class_names": ["a"]},
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
