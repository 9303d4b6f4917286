"""A stored accuracy predictor is the predictor, to the last bit; anything else is refused in one line."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwnas.search.accuracy import KINDS, AccuracyPredictor, open_accuracy, save_accuracy
from hwnas.spaces import open_space
from profilers.errors import InvalidInputError

SPACE = open_space("digits")
ROWS = np.unique(SPACE.sample(60, np.random.default_rng(0)), axis=0)
FRESH = SPACE.sample(300, np.random.default_rng(1))
MADE_FROM = {"supernet": "0123abcd", "data": "digit-pairs"}


@pytest.fixture(scope="module")
def predictors():
    accuracies = np.random.default_rng(2).uniform(0.8, 0.9, len(ROWS))
    evaluations = dict(zip(map(SPACE.arch, ROWS), accuracies.tolist(), strict=True))
    return {kind: AccuracyPredictor.fit(SPACE, evaluations, kind, MADE_FROM) for kind in KINDS}


@pytest.fixture
def stored(predictors, tmp_path):
    """A function from a kind to the file of one."""

    def store(kind):
        save_accuracy(predictors[kind], tmp_path / f"{kind}.npz")
        return tmp_path / f"{kind}.npz"

    return store


def rewritten(path, **changes):
    """The file with some arrays changed, and without those that are None."""
    arrays = {**np.load(path), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def about(path, **changes):
    """The file with some of its text changed."""
    text = json.loads(str(np.load(path)["about"])) | changes
    return rewritten(path, about=np.array(json.dumps(text)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_stored(kind, predictors, stored):
    again = open_accuracy(stored(kind), SPACE)
    assert (again(FRESH) == predictors[kind](FRESH)).all()
    assert again.facts() == predictors[kind].facts() == {
        "kind": kind, "rmse": again.rmse, "kendall_tau": again.kendall_tau, "subnets": len(ROWS), **MADE_FROM
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_predictor_is_stored_as_the_same_bytes_of_plain_arrays(kind, stored):
    path = stored(kind)
    content = path.read_bytes()
    assert stored(kind).read_bytes() == content
    assert all(array.dtype.kind in "fiU" for array in np.load(path).values())


@pytest.mark.parametrize(
    ("space", "named"),
    [
        (open_space("ofa-mbv3"), "digits at resolution 40 with 100 classes, not for ofa-mbv3 at resolution 224"),
        (open_space("digits", resolutions=(40, 48)), "100 classes, not for digits at resolution 40,48"),
        (open_space("digits", classes=10), "with 100 classes, not for digits at resolution 40 with 10 classes"),
    ],
)  # fmt: skip
def test_one_of_another_space_is_refused_with_both_named(space, named, stored):
    with pytest.raises(InvalidInputError, match=named):
        open_accuracy(stored("ridge"), space)


def test_one_of_the_same_space_with_other_choices_is_refused(stored):
    path = stored("ridge")
    dimensions = json.loads(str(np.load(path)["about"]))["dimensions"] | {"s1.depth": [1, 2]}
    with pytest.raises(InvalidInputError, match="has changed since; fit it again"):
        open_accuracy(about(path, dimensions=dimensions), SPACE)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(b""), "no .npz file"),
        (lambda path: path.write_bytes(b"\x80\x04]\x94."), "no .npz file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "not a zip file"),
        (lambda path: about(path, version=2), "version 2, not hwnas-accuracy version 1"),
        (lambda path: about(path, kind="forest"), "'forest' is missing"),
        (lambda path: about(path, rmse=float("nan")), "NaN is no number"),
        (lambda path: about(path, made_from=[1]), "list"),
        (lambda path: rewritten(path, about=np.array("{")), "Expecting"),
        (lambda path: rewritten(path, about=np.array("[]")), "indices"),
        (lambda path: rewritten(path, about=None), "'about' is missing"),
        (lambda path: rewritten(path, weights=None), "'weights' is missing"),
        (lambda path: rewritten(path, weights=np.zeros(3)), r"shape \(3,\) do not fit 65 features"),
        (lambda path: rewritten(path, weights=np.full(65, np.nan)), "values that are no numbers"),
        (lambda path: rewritten(path, weights=np.full(65, "a")), "no array of numbers"),
        (lambda path: np.savez(path, weights=np.array([{}], object)), "cannot be loaded"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(damage, why, stored):
    path = stored("ridge")
    damage(path)
    with pytest.raises(InvalidInputError, match=f"(?i)holds no accuracy predictor that can be read.*{why}") as refused:
        open_accuracy(path, SPACE)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(InvalidInputError, match=r"nowhere\.npz is not there"):
        open_accuracy(tmp_path / "nowhere.npz", SPACE)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("boosting", lambda a: {"left": np.zeros_like(a["left"])}),  # a node before its parent: walks would never end
        ("boosting", lambda a: {"right": a["right"] + 10_000}),
        ("boosting", lambda a: {"feature": a["feature"] - 1}),
        ("boosting", lambda a: {"feature": a["feature"] + 65}),
        ("boosting", lambda a: {"roots": a["roots"] + 0.5}),
        ("boosting", lambda a: {"value": a["value"][:-1]}),
        ("boosting", lambda a: {"base": a["value"]}),
        ("mlp", lambda a: {"weight0": a["weight0"][:-1]}),
        ("mlp", lambda a: {"bias0": a["bias0"][:-1]}),
        ("mlp", lambda a: {"bias1": np.zeros(2, np.float32), "weight1": np.repeat(a["weight1"], 2, axis=1)}),
        ("mlp", lambda _: {"bias1": None}),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(kind, changes, stored):
    path = stored(kind)
    rewritten(path, **changes(np.load(path)))
    with pytest.raises(InvalidInputError, match="holds no accuracy predictor that can be read"):
        open_accuracy(path, SPACE)


@pytest.mark.parametrize(
    ("kind", "behind", "place", "flip", "why"),
    [
        ("ridge", b"PK\3\4", 29, 0x40, "EOFError"),  # the first array begins behind the file's end
        ("ridge", b"PK\1\2", 8, 0x01, "encrypted"),
        ("mlp", b"weight0.npy", 39, 0x04, "CRC-32"),  # numbers begin earlier: numpy would read others, not to the end
    ],
)
def test_damage_that_zip_files_report_in_their_own_way_or_not_at_all_is_refused(kind, behind, place, flip, why, stored):
    path = stored(kind)
    content = bytearray(path.read_bytes())
    content[content.index(behind) + place] ^= flip
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"holds no accuracy predictor that can be read.*{why}"):
        open_accuracy(path, SPACE)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_that_were_changed_or_cut_off_never_pass_for_another_predictor(kind, data, predictors, stored):
    path = stored(kind)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = open_accuracy(path, SPACE)
    except InvalidInputError:
        pass
    else:  # bytes that zip files have and nobody reads
        assert (found(FRESH) == predictors[kind](FRESH)).all()


def test_a_member_that_claims_to_be_huge_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)})
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as file:
        file.writestr("weights.npy", header.getvalue())
    with pytest.raises(InvalidInputError, match="holds no accuracy predictor that can be read"):
        open_accuracy(tmp_path / "huge.npz", SPACE)
