"""The published predictor of once-for-all, over our rows: what its authors' encoding and weights say."""

import json
import re
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from hwnas.accuracy_files import read_accuracy
from hwnas.published import read_net
from hwnas.search.accuracy import AccuracyPredictor, open_accuracy
from hwnas.search.accuracy.perceptron import BATCH
from hwnas.spaces import open_space
from profilers.errors import InvalidInputError

SPACE = "ofa-mbv3@1.2"
STAGES, BLOCKS = 5, 4


@pytest.fixture(scope="module")
def path(shared_data):
    return shared_data / "ofa_acc_predictor.npz"


def by_the_book(path, archs):
    """The predictor as its authors describe it: an input of 128 written out one by one, in double precision."""
    x = np.zeros((len(archs), 128))
    for row, arch in zip(x, archs, strict=True):
        size, *values = arch.values
        row[120 + (size - 112) // 16] = 1
        for stage in range(STAGES):
            depth, *choices = values[9 * stage : 9 * (stage + 1)]
            for block in range(depth):
                place = 3 * (BLOCKS * stage + block)
                row[place + (3, 5, 7).index(choices[2 * block])] = 1
                row[60 + place + (3, 4, 6).index(choices[2 * block + 1])] = 1
    weights = {name: array.astype(np.float64) for name, array in np.load(path).items()}
    for layer in (0, 2, 4, 6):
        x = x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        x = np.maximum(x, 0) if layer < 6 else x
    return x[:, 0]


@pytest.mark.parametrize("resolutions", [(112,), (224,), (160, 192, 224), tuple(range(112, 225, 16))])
def test_it_says_what_the_published_weights_say(path, resolutions):
    space = open_space(SPACE, resolutions=resolutions)
    rows = space.sample(200, np.random.default_rng(0))
    expected = by_the_book(path, [space.arch(row) for row in rows])
    np.testing.assert_allclose(open_accuracy(path, space)(rows), expected, rtol=0, atol=1e-6)


def test_nets_that_were_published_for_it_rank_as_they_did_on_imagenet(path, shared_data):
    """Those of its width and image sizes: 78.4, 78.7, 79.1 and 79.6 % by their names."""
    found = []
    for file in (shared_data / "ofa_published").glob("*.json"):
        config = json.loads(file.read_text())
        if config["first_conv"]["out_channels"] == 24 and config["image_size"] in range(112, 225, 16):
            space = open_space(SPACE, resolutions=(config["image_size"],))
            (predicted,) = open_accuracy(path, space)(space.row(read_net(file, space))[None])
            found.append((float(re.search(r"top1-([\d.]+)", file.name)[1]), predicted))
    measured, predicted = zip(*sorted(found), strict=True)
    assert measured == (78.4, 78.7, 79.1, 79.6)
    assert list(predicted) == sorted(predicted)


def test_an_accuracy_depends_on_its_own_row_alone(path):
    space, rng = open_space(SPACE, resolutions=(160, 192, 224)), np.random.default_rng(0)
    model, rows = open_accuracy(path, space), space.sample(3 * BATCH + 7, rng)
    whole, order = model(rows), rng.permutation(len(rows))
    assert (model(rows[order]) == whole[order]).all()
    for count in (1, 2, 3, 4, BATCH - 1, BATCH, BATCH + 1):
        assert (model(rows[:count]) == whole[:count]).all(), count


@pytest.mark.parametrize(
    ("space", "named"),
    [
        (open_space("digits"), "not of digits with 100 classes at 40"),
        (open_space("ofa-mbv3"), "not of ofa-mbv3 with 1000 classes at 224"),
        (open_space(SPACE, resolutions=(160, 200)), "not of ofa-mbv3@1.2 with 1000 classes at 160,200"),
        (open_space(SPACE, resolutions=(96,)), "at 96"),
        (open_space(SPACE, resolutions=(240,)), "at 240"),
        (open_space(SPACE, classes=10), "with 10 classes at 224"),
    ],
)
def test_another_space_is_refused_with_both_named(space, named, path):
    with pytest.raises(InvalidInputError, match=f"is of ofa-mbv3@1.2 with 1000 classes at .* 112 to 224.*{named}"):
        open_accuracy(path, space)


@pytest.mark.parametrize(
    "changes",
    [
        {"0.weight": np.zeros((400, 120), np.float32)},
        {"0.weight": np.zeros(400, np.float32)},
        {"2.weight": np.zeros((400, 399), np.float32)},
        {"4.bias": np.zeros(399, np.float32)},
        {"6.weight": np.zeros((2, 400), np.float32), "6.bias": np.zeros(2, np.float32)},
        {"6.bias": np.full(1, np.inf, np.float32)},
        {"6.bias": np.zeros((), np.float32)},
        {"2.weight": np.full((400, 400), "x")},
        {"2.weight": np.zeros((), np.float32)},
    ],
)
def test_arrays_that_are_not_the_published_ones_are_refused(changes, path, tmp_path):
    np.savez(tmp_path / "changed.npz", **{**np.load(path), **changes})
    with pytest.raises(InvalidInputError, match="holds no accuracy predictor that can be read"):
        open_accuracy(tmp_path / "changed.npz", open_space(SPACE))


def test_a_predictor_fitted_on_it_ranks_architectures_as_it_does(path):
    """Real accuracies do not add up; these are as good as real."""
    space = open_space(SPACE)
    model, rng = open_accuracy(path, space), np.random.default_rng(0)
    rows, fresh = space.sample(400, rng), space.sample(1000, rng)
    evaluations = dict(zip(map(space.arch, rows), model(rows).tolist(), strict=True))
    for fitted in AccuracyPredictor.fit_all(space, evaluations):
        assert kendalltau(fitted(fresh), model(fresh)).statistic == pytest.approx(fitted.kendall_tau, abs=0.05)
        assert np.sqrt(np.mean((fitted(fresh) - model(fresh)) ** 2)) == pytest.approx(fitted.rmse, rel=0.2)
        assert fitted.kendall_tau > 0.6


def older(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def newer(arrays):
    """As the class of once-for-all's package names them: the last layer's bias is `base_acc`."""
    names = {"0": "layers.0.0", "2": "layers.1.0", "4": "layers.2.0", "6": "layers.3"}
    tensors = {re.sub(r"^\d", lambda m: names[m[0]], name): torch.from_numpy(a) for name, a in arrays.items()}
    tensors["base_acc"] = tensors.pop("layers.3.bias")
    return tensors


@pytest.mark.parametrize("naming", [older, newer, lambda arrays: {"state_dict": newer(arrays), "epoch": 3}])
@pytest.mark.parametrize("zipped", [True, False])
def test_the_file_that_torch_saved_says_the_same(path, tmp_path, naming, zipped):
    space = open_space(SPACE, resolutions=(160, 224))
    file = tmp_path / "acc_predictor.pth"
    torch.save(naming(dict(np.load(path))), file, _use_new_zipfile_serialization=zipped)
    rows = space.sample(50, np.random.default_rng(0))
    np.testing.assert_array_equal(read_accuracy(file, space)(rows), open_accuracy(path, space)(rows))
    np.testing.assert_array_equal(read_accuracy(path, space)(rows), open_accuracy(path, space)(rows))


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"0.weight": torch.ones(400, 82)}, "the one of once-for-all's ResNet50 space"),
        ({"0.weight": torch.ones(400, 128)}, "is missing"),
        ({"features.0.weight": torch.ones(3)}, "'about' is missing"),
        ({"fc": torch.ones(3)}, "has no 0.weight to 6.bias"),
        ({"0.weight": torch.ones(4, 128).to_sparse()}, "is a sparse tensor"),
        ([1, 2], "no state dict but a list"),
    ],
)
def test_another_file_of_torch_is_refused_in_a_line(tmp_path, tensors, why):
    torch.save(tensors, tmp_path / "file.pth")
    with pytest.raises(InvalidInputError, match=why) as refused:
        read_accuracy(tmp_path / "file.pth", open_space(SPACE))
    assert "\n" not in str(refused.value)


def test_an_archive_that_promises_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (100 << 20,)})
        for _ in range(400):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match="arrays take 400 MB, more than 256 MB"):
        read_accuracy(tmp_path / "bomb.npz", open_space(SPACE))
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_an_array_that_claims_another_size_than_it_has_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 60,)})
        file.write(bytes(8))
    with pytest.raises(InvalidInputError, match="'a' is cut off, or not of the shape that it claims"):
        read_accuracy(tmp_path / "lie.npz", open_space(SPACE))
