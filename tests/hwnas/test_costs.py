"""What is priced for whole populations is what whole networks need, and what their files really take."""

from itertools import product

import numpy as np
import pytest

from hwnas import costs, spaces
from hwnas.spaces import open_space
from lut.blocks import chain
from lut.layers import random_weights, shape_only
from profilers import formats
from profilers.errors import UnknownNameError
from profilers.formats import HSWISH_FORMS, PRECISIONS, Form, write

from ..kit import TINY

FORMS = [Form(precision, hswish) for precision in PRECISIONS for hswish in HSWISH_FORMS]


def with_ends(space, count):
    """The smallest, the largest, and `count` random architectures."""
    ends = [space.row(space.smallest), space.row(space.largest)]
    return np.stack([*ends, *space.sample(count, np.random.default_rng(0))])


def blocks_of(space, row):
    return list(space.layers(space.arch(row)).values())


def shape_of(space, row):
    """A whole network as a graph whose weights nobody can read."""
    return chain([(block, shape_only) for block in blocks_of(space, row)])


def network(space, row):
    """A whole network as a graph, with weights."""
    weights = random_weights(np.random.default_rng(0))
    return chain([(block, weights) for block in blocks_of(space, row)])


@pytest.fixture(params=spaces.names())
def space(request):
    """Every space there is, at sizes that are halved evenly, and at one that is not."""
    return open_space(request.param, resolutions=(64, 75))


def test_macs_are_those_of_every_weight_at_every_place_it_is_used(space):
    rows = with_ends(space, 20)
    for row, macs in zip(rows, costs.macs(space)(rows), strict=True):
        weighty = [op for op in shape_of(space, row).operations if op.weight is not None]
        assert macs == sum(op.weight.size * np.prod(op.output.shape[2:], dtype=int) for op in weighty)


def test_params_are_those_that_a_network_trains(space):
    nets = pytest.importorskip("hwnas.nets.static")
    rows = with_ends(space, 1)
    for row, params in zip(rows, costs.params(space)(rows), strict=True):
        trained = nets.StaticNet(space.layers(space.arch(row)))
        assert params == sum(parameter.numel() for parameter in trained.parameters())


@pytest.mark.parametrize(("precision", "element_bytes"), [("fp32", 4), ("int8", 1)])
def test_the_peak_of_a_whole_network_is_that_of_its_neediest_block(space, precision, element_bytes):
    rows = with_ends(space, 40)
    expected = [shape_of(space, row).peak_activation_bytes(element_bytes) for row in rows]
    assert costs.peak_activation_bytes(space, Form(precision))(rows).tolist() == expected


def test_the_least_peak_is_attained_by_the_row_that_comes_with_it(space):
    peak = costs.peak_activation_bytes(space, Form())
    least, row = peak.least()
    assert shape_of(space, row).peak_activation_bytes() == least
    assert least <= peak(with_ends(space, 200)).min()


def assert_bounds(space, rows, format, form):
    """No file is larger than what is priced, and none much smaller."""
    if format == "tflite":
        pytest.importorskip("ai_edge_quantizer")
    priced = costs.file_bytes(space, format, form)(rows)
    real = np.array([len(write(network(space, row), format, form).content) for row in rows])
    assert (priced >= real).all(), (priced - real).min()
    assert (priced - real <= np.maximum(real / 100, 2048)).all(), (priced - real).max()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.precision}-{form.hswish}")
@pytest.mark.parametrize("format", formats.names())
@pytest.mark.parametrize(("name", "size", "classes"), [("digits", 40, 100), ("digits@0.3", 37, 3)])
def test_a_file_takes_what_is_priced_or_at_most_a_hundredth_less(format, form, name, size, classes):
    space = open_space(name, resolutions=(size,), classes=classes)
    assert_bounds(space, with_ends(space, 4 if form.precision == "fp32" else 1), format, form)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.precision}-{form.hswish}")
@pytest.mark.parametrize("format", formats.names())
@pytest.mark.parametrize("name", [name for name in spaces.names() if name != "digits"])
def test_files_of_large_spaces_take_what_is_priced(format, form, name):
    space = open_space(f"{name}@0.25", resolutions=(33, 64))
    assert_bounds(space, with_ends(space, 1), format, form)


@pytest.mark.parametrize("format", formats.names())
def test_every_architecture_of_a_tiny_space_is_priced_at_its_file(format):
    rows = np.array(list(product(*map(range, TINY.sizes))))
    assert_bounds(TINY, rows[:: len(rows) // 50], format, Form())


def test_arrays_that_a_quantizer_sets_apart_are_counted_in_full():
    """It does so above 256 KiB of weights, which the largest network of digits has, and a narrow one has not."""
    for name in ("digits@0.5", "digits@2"):
        space = open_space(name)
        assert_bounds(space, with_ends(space, 0), "tflite", Form("int8", "split"))


def test_the_form_of_hswish_costs_bytes_only_where_there_is_hswish():
    for name, differs in (("ofa-mbv3", True), ("ofa-proxyless", False)):
        space = open_space(name)
        fused, split = (costs.file_bytes(space, "onnx", Form("fp32", hswish)).least()[0] for hswish in HSWISH_FORMS)
        assert (split > fused) == differs


def test_a_format_that_is_not_there_is_refused_with_those_there_are():
    with pytest.raises(UnknownNameError, match=", ".join(formats.names())):
        costs.file_bytes(TINY, "papyrus", Form())
