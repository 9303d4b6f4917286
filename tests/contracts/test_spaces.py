"""Every space found in `hwnas.spaces` keeps the contract of a space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.arch import Arch
from lut.blocks import chain
from lut.layers import shape_only
from profilers.errors import InvalidInputError

ALL = {name: spaces.open_space(name) for name in spaces.names()}

each_space = pytest.mark.parametrize("space", ALL.values(), ids=ALL)
seeds = st.integers(0, 2**32 - 1)


def raw_rows(space, seed, count=20):
    """Rows that need not be canonical."""
    return np.random.default_rng(seed).integers(0, space.sizes, (count, len(space.sizes)))


def layers(space, row):
    return list(space.layers(space.arch(row)).items())


@each_space
@given(seeds)
@settings(max_examples=20, deadline=None)
def test_canonical_form_is_the_same_network(space, seed):
    rows = raw_rows(space, seed)
    canonical = space.canonical(rows)
    assert [layers(space, row) for row in canonical] == [layers(space, row) for row in rows]
    assert (space.canonical(canonical) == canonical).all()


@each_space
@given(seeds)
@settings(max_examples=20, deadline=None)
def test_equal_networks_are_equal_rows_and_different_networks_are_not(space, seed):
    # Rows one choice apart, because random ones are never the same network.
    row = raw_rows(space, seed, 1)[0]
    rows = np.tile(row, (len(row), 1))
    for dim, size in enumerate(space.sizes):
        rows[dim, dim] = (row[dim] + 1) % size
    canonical = space.canonical(np.concatenate([row[None], rows]))
    for other, other_raw in zip(canonical[1:], rows, strict=True):
        assert (other == canonical[0]).all() == (layers(space, other_raw) == layers(space, row))


@each_space
@given(seeds)
@settings(max_examples=20, deadline=None)
def test_vocabulary_and_factors_hold_exactly_the_blocks_of_architectures(space, seed):
    for row in raw_rows(space, seed):
        found = dict(layers(space, row))
        assert set(found.values()) <= set(space.vocabulary)
        for factor in space.factors:
            assert factor.blocks[tuple(row[list(factor.dims)])] == found.get(factor.slot)


@each_space
def test_every_block_of_the_vocabulary_is_in_some_architecture(space):
    sampled = set()
    for row in space.sample(3000, np.random.default_rng(0)):
        sampled |= set(space.layers(space.arch(row)).values())
    assert sampled == set(space.vocabulary)


@each_space
@given(seeds)
@settings(max_examples=10, deadline=None)
def test_an_architecture_is_a_network_from_images_to_classes(space, seed):
    arch = space.arch(raw_rows(space, seed, 1)[0])
    blocks = list(space.layers(arch).values())
    graph = chain([(block, shape_only) for block in blocks])  # refuses shapes that do not meet
    assert graph.input.shape == (1, space.image_chs, space.resolution(arch), space.resolution(arch))
    assert graph.output.shape == (1, space.classes)


@each_space
def test_spelling_a_row_and_an_architecture_are_inverse(space):
    for row in space.sample(50, np.random.default_rng(0)):
        arch = space.arch(row)
        assert (space.row(arch) == row).all() and space.parse(str(arch)) == arch == Arch.parse(str(arch))


@each_space
def test_no_architecture_has_a_wider_or_larger_block_than_the_largest(space):
    largest = space.layers(space.largest)
    for factor in space.factors:
        for block in filter(None, factor.blocks.flat):
            mine = {layer.name: layer for layer in largest[factor.slot].layers}
            for layer in block.layers:
                assert all(a <= b for a, b in zip(layer.weight_shape, mine[layer.name].weight_shape, strict=True))


@each_space
def test_encodings_tell_networks_apart(space):
    rows = np.unique(space.sample(500, np.random.default_rng(0)), axis=0)
    assert len(np.unique(space.encode(rows), axis=0)) == len(rows)


@each_space
def test_an_architecture_of_elsewhere_is_refused(space):
    with pytest.raises(InvalidInputError, match="not of"):
        space.row(Arch("elsewhere", space.largest.values))
    with pytest.raises(InvalidInputError, match="values"):
        space.row(Arch(space.name, space.largest.values[:-1]))
    with pytest.raises(InvalidInputError, match="not one of"):
        space.row(Arch(space.name, (*space.largest.values[:-1], 99)))


def test_the_once_for_all_space_has_96_blocks_90_of_them_searchable():
    for spec in ("ofa-mbv3", "ofa-mbv3@1.2"):
        space = spaces.open_space(spec)
        searchable = {b for f in space.factors if len(f.dims) > 1 for b in f.blocks.flat if b is not None}
        assert (len(space.vocabulary), len(searchable)) == (96, 90)


def test_resolutions_multiply_what_depends_on_them():
    one, two = (spaces.open_space("ofa-mbv3", resolutions=r) for r in ((160,), (160, 224)))
    assert len(two.vocabulary) == 2 * len(one.vocabulary) - 2  # feature mix and classifier see one pixel


@pytest.mark.parametrize("spec", ["digits@", "digits@x", "digits@0", "digits@-1", "digits@nan", "digits@inf"])
def test_a_width_that_is_no_positive_number_is_refused(spec):
    with pytest.raises(InvalidInputError, match="width"):
        spaces.open_space(spec)


def test_an_unknown_space_is_answered_with_those_there_are():
    with pytest.raises(InvalidInputError, match="digits, ofa-mbv3"):
        spaces.open_space("nasnet")


@each_space
def test_what_a_list_says_of_a_space_is_what_it_is(space):
    (info,) = (info for info in spaces.listing() if info.name == space.name)
    assert (info.image_chs, info.resolutions, info.classes) == (space.image_chs, space.resolutions, space.classes)
    assert info.blocks == len(space.vocabulary) and info.summary.endswith((".", ","))


def test_there_is_a_small_space_for_colour_images():
    space = spaces.open_space("photos")
    blocks = list(space.layers(space.largest).values())
    assert space.image_chs == 3 and space.resolutions == (32, 48, 64) and space.classes == 10
    assert 64 // min(block.hw for block in blocks[:-2] if block.key.startswith("mb")) <= 16
    assert max(block.macs for block in blocks) < 5e6
