"""The search loop: what it counts, what it reports, and what it hands on."""

import numpy as np
import pytest

from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.engine import Found, search
from hwnas.spaces import open_space
from lut.compiled import Compiled

DIGITS = open_space("digits")
MACS = Compiled.of(DIGITS, lambda block: block.macs)
HALF = Constraints((Constraint("MACs", MACS, 0.5 * MACS.greatest(), "M", 1e6),))


def searched(evaluations, constraints=HALF, seed=0, **more):
    return search(DIGITS, constraints, MACS, np.random.default_rng(seed), evaluations=evaluations, **more)


def test_the_best_comes_first_and_of_equal_ones_the_first_that_was_found():
    found = Found.of(np.array([[0], [1], [2], [3]]), np.array([0.5, 0.7, 0.5, 0.7]), 4)
    assert found.population.tolist() == [[1], [3], [0], [2]]
    assert found.scores.tolist() == [0.7, 0.7, 0.5, 0.5]


@pytest.mark.parametrize("evaluations", [1, 33, 500])
def test_evaluations_are_counted_and_never_exceeded(evaluations):
    found = searched(evaluations)
    assert found.evaluations == len(found.population) == len(found.scores) == evaluations
    assert HALF.met(found.population).all()


def test_more_evaluations_never_find_less():
    best = [searched(evaluations).scores[0] for evaluations in (50, 200, 800)]
    assert best == sorted(best)


def test_a_search_without_constraints_finds_the_largest_where_larger_is_better():
    found = searched(2000, Constraints())
    assert found.scores[0] == MACS.greatest()


def test_a_search_that_only_repeats_a_known_one_scores_other_architectures():
    first = searched(300)
    second = searched(300, start=[first])
    assert len(second.population) == 600
    assert len(np.unique(second.population, axis=0)) == 600
    assert second.scores[0] >= first.scores[0]


def test_what_two_searches_know_of_one_architecture_is_known_once():
    first = searched(100)
    found = searched(50, start=[first, first])
    assert len(found.population) == 150 and found.evaluations == 50


def test_only_what_is_within_the_new_limits_is_handed_on():
    loose = searched(300, Constraints())
    within = int(HALF.met(loose.population).sum())
    found = searched(100, start=[loose])
    assert 0 < within < 300
    assert len(found.population) == within + 100


def test_progress_rises_to_its_end_and_says_the_best_so_far():
    told = []
    found = searched(300, report=lambda what, done, text: told.append((what, done, float(text.split()[1]))))
    shares, best = [done for _, done, _ in told], [value for *_, value in told]
    assert {what for what, *_ in told} == {"search"}
    assert shares == sorted(shares) and shares[-1] == 1
    assert best == sorted(best) and best[-1] == pytest.approx(found.scores[0], abs=1e-4)
