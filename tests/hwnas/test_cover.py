"""The set of nets that covers several budgets is the smallest there is."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.search.cover import smallest_cover
from profilers.errors import InvalidInputError


def fewest(serves):
    """By trying all sets, the small ones first."""
    for size in range(1, len(serves) + 1):
        for chosen in combinations(range(serves.shape[1]), size):
            if serves[:, chosen].any(axis=1).all():
                return size
    raise AssertionError("each budget is served by its best")


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 12), st.floats(0, 0.1))
@settings(max_examples=60, deadline=None)
def test_it_is_as_small_as_the_smallest_and_each_budget_is_served_within_the_loss(seed, budgets, nets, loss):
    rng = np.random.default_rng(seed)
    accuracies, costs = rng.uniform(0.7, 0.8, nets).round(3), rng.uniform(0, 1, (2, nets))
    limits = rng.uniform(0.5, 1, (budgets, 2))
    meets = (costs[None] <= limits[:, :, None]).all(axis=1)
    meets[:, costs.sum(axis=0).argmin()] = True
    best = np.where(meets, accuracies, -1).max(axis=1)
    served = smallest_cover(accuracies, meets, loss)
    assert meets[np.arange(budgets), served].all()
    assert (accuracies[served] >= best - loss).all()
    assert len(set(served)) == fewest(meets & (accuracies >= best[:, None] - loss))


def test_without_any_loss_each_budget_has_its_best():
    accuracies, meets = np.array([0.7, 0.75, 0.8]), np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
    assert smallest_cover(accuracies, meets, 0.0) == [0, 1, 2]
    assert len(set(smallest_cover(accuracies, meets, 0.06))) == 2
    assert smallest_cover(accuracies, meets, 0.11) == [0, 0, 0]


def test_of_two_that_serve_the_same_the_more_accurate_is_taken():
    assert smallest_cover(np.array([0.79, 0.8]), np.ones((2, 2), bool), 0.1) == [1, 1]


def test_a_budget_that_nothing_meets_is_refused():
    with pytest.raises(InvalidInputError, match="meets budget 2"):
        smallest_cover(np.array([0.7]), np.array([[True], [False]]), 0.1)
