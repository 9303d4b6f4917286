"""A choice decides something where another one in its place would make another network: tried, choice by choice."""

from itertools import product

import numpy as np
import pytest

from hwnas.deciding import Deciding
from hwnas.spaces import open_space

from ..kit import TINY, small

RNG = np.random.default_rng(0)


def tried(space, row):
    """For each dimension of one architecture, whether its choices make more than one network."""
    decide = []
    for dim, size in enumerate(space.sizes):
        others = np.tile(row, (size, 1))
        others[:, dim] = range(size)
        decide.append(len({tuple(space.layers(space.arch(other)).items()) for other in others}) > 1)
    return decide


def rows_of(space, count):
    if np.prod(space.sizes) <= count:
        return np.array(list(product(*map(range, space.sizes))))
    return RNG.integers(0, space.sizes, (count, len(space.sizes)))  # not canonical


@pytest.mark.parametrize(
    ("space", "count"),
    [(TINY, 200), (small(16), 200), (small(16, 24), 100), (open_space("digits"), 30), (open_space("ofa-mbv3"), 4)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_what_decides_is_what_changes_the_network(space, count):
    rows = rows_of(space, count)
    found = space.deciding(rows)
    assert found.tolist() == [tried(space, row) for row in rows]
    assert found.any() and not found.all()


def test_it_is_looked_up_by_no_more_dimensions_than_it_depends_on():
    """The first dimension leaves the second out where its choice is 0; the third changes nothing about that."""
    where = np.zeros((2, 3, 4), bool)
    where[1] = True
    deciding = Deciding((2, 3, 4), [[((0, 1, 2), np.ones((2, 3, 4), bool))], [((0, 1, 2), where)], []])
    assert [dims for dims, _ in deciding.tables] == [(), (0,), ()]
    rows = np.array(list(product(range(2), range(3), range(4))))
    assert deciding(rows).tolist() == [[True, bool(row[0]), False] for row in rows]


def test_of_several_slots_one_that_changes_is_enough():
    one, other = np.array([[False, True]] * 2), np.array([[False, False, True]] * 2)
    deciding = Deciding((2, 2, 3), [[((0, 1), one), ((0, 2), other)], [], []])
    rows = np.array(list(product(range(2), range(2), range(3))))
    assert deciding(rows)[:, 0].tolist() == [row[1] == 1 or row[2] == 2 for row in rows]
    assert deciding.tables[0][0] == (1, 2)
