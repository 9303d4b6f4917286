"""The canonical form: equal networks are equal rows, and only these."""

from itertools import product

import numpy as np
import pytest

from hwnas.spaces import open_space

from ..kit import TINY, small

LISTED = {"tiny": TINY, "small": small(16), "small of two sizes": small(16, 24)}
LARGE = [
    open_space("digits"),
    open_space("ofa-mbv3@1.2", resolutions=(160, 192, 224)),
    open_space("ofa-proxyless"),
    open_space("proxyless"),
]


def blocks(space, row):
    return tuple(space.layers(space.arch(row)).items())


def first_choice_where_nothing_is_decided(space, row):
    """The definition, slowly: from the first dimension on, a choice that no slot shows becomes the first."""
    row = row.copy()
    for dim, size in enumerate(space.sizes):
        networks = []
        for choice in range(size):
            row_there = row.copy()
            row_there[dim] = choice
            networks.append(blocks(space, row_there))
        if len(set(networks)) == 1:
            row[dim] = 0
    return row


@pytest.mark.parametrize("name", LISTED)
def test_two_architectures_are_one_row_exactly_if_they_are_one_network(name):
    space = LISTED[name]
    rows = np.array(list(product(*map(range, space.sizes))))
    canonical = [tuple(row) for row in space.canonical(rows).tolist()]
    networks = [blocks(space, row) for row in rows]
    assert len(set(zip(canonical, networks, strict=True))) == len(set(canonical)) == len(set(networks)) < len(rows)


@pytest.mark.parametrize("space", LARGE, ids=lambda space: space.name)
def test_choices_that_decide_nothing_become_the_first(space):
    rows = np.random.default_rng(0).integers(0, space.sizes, (20, len(space.sizes)))
    slowly = [first_choice_where_nothing_is_decided(space, row).tolist() for row in rows]
    assert space.canonical(rows).tolist() == slowly


@pytest.mark.parametrize("space", LARGE, ids=lambda space: space.name)
def test_the_canonical_form_is_the_same_network_and_its_own_canonical_form(space):
    rows = np.random.default_rng(1).integers(0, space.sizes, (50, len(space.sizes)))
    canonical = space.canonical(rows)
    assert [blocks(space, row) for row in canonical] == [blocks(space, row) for row in rows]
    assert np.array_equal(space.canonical(canonical), canonical)


@pytest.mark.parametrize("space", LARGE, ids=lambda space: space.name)
def test_every_factor_has_the_blocks_that_layers_gives_for_its_choices(space):
    """Whatever the other dimensions are: here drawn at random."""
    for row in np.random.default_rng(2).integers(0, space.sizes, (50, len(space.sizes))):
        found = {f.slot: f.blocks[tuple(row[list(f.dims)])] for f in space.factors}
        assert {slot: block for slot, block in found.items() if block} == space.layers(space.arch(row))


@pytest.mark.parametrize("space", [*LISTED.values(), *LARGE], ids=lambda space: space.name)
def test_every_combination_of_a_factor_is_what_its_architecture_has_there(space):
    for factor in space.factors:
        row = np.zeros(len(space.sizes), np.intp)
        for choices in np.ndindex(factor.blocks.shape):
            row[list(factor.dims)] = choices
            assert factor.blocks[choices] == space.layers(space.arch(row)).get(factor.slot)


def test_no_architectures_are_made_of_none():
    assert TINY.canonical(np.empty((0, len(TINY.sizes)), np.intp)).shape == (0, len(TINY.sizes))
