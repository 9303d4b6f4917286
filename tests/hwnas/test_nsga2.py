"""The front that NSGA-II finds is the front."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwnas.search.algorithms.nsga2 import ranked
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.engine import search
from lut.compiled import Compiled

from ..kit import small

SMALL = small(16, 24)
EVERY_ROW = np.unique(SMALL.canonical(np.array(list(product(*map(range, SMALL.sizes))))), axis=0)
goals = st.integers(1, 30).flatmap(lambda n: arrays(float, (n, 2), elements=st.integers(0, 6).map(float)))


def beaten(one, goals):
    return any((other <= one).all() and (other < one).any() for other in goals)


@given(goals)
@settings(max_examples=60, deadline=None)
def test_ranks_are_fronts_peeled_off_one_after_the_other(goals):
    rank, apart = ranked(goals)
    for level in range(rank.max() + 1):
        left = goals[rank >= level]
        assert [not beaten(one, left) for one in left] == (rank[rank >= level] == level).tolist()
    assert (apart >= 0).all()


def test_the_ends_of_a_front_are_farthest_apart_and_the_crowded_are_least():
    rank, apart = ranked(np.array([[0, 10.0], [1, 9], [1.2, 8.9], [5, 5], [10, 0]]))
    assert (rank == 0).all()
    assert np.isinf(apart[[0, 4]]).all() and apart[3] > apart[1:3].max()


@pytest.mark.parametrize("seed", range(3))
def test_half_of_a_small_space_is_enough_to_see_three_quarters_of_its_front(seed, monkeypatch):
    monkeypatch.setattr("hwnas.search.algorithms.nsga2.POPULATION", 20)
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.01, 5, (2, len(SMALL.vocabulary)))
    cost, score = (Compiled.of(SMALL, dict(zip(SMALL.vocabulary, v, strict=True)).__getitem__) for v in values)
    limit = float(np.median(cost(EVERY_ROW)))
    constraints = Constraints((Constraint("cost", cost, limit, "ms"),))
    feasible = EVERY_ROW[constraints.met(EVERY_ROW)]
    true = np.column_stack([-score(feasible), cost(feasible)])
    found = search(SMALL, constraints, score, rng, algorithm="nsga2", evaluations=len(feasible) // 2)
    seen = np.column_stack([-found.scores, cost(found.population)])
    front = {tuple(one) for one in true if not beaten(one, true)}
    missing = front - {tuple(one) for one in seen}
    assert len(missing) <= 0.25 * len(front)
