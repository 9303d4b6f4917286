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


def test_of_many_equal_scores_the_order_is_that_of_finding_them():
    rows, scores = np.arange(200)[:, None], np.arange(200) % 3 / 2
    found = Found.of(rows, scores, 200)
    assert found.population[:, 0].tolist() == [*range(2, 200, 3), *range(1, 200, 3), *range(0, 200, 3)]


class Scripted:
    """An algorithm that proposes what a test says, and nothing more; notes what it is told."""

    def __init__(self, *proposed):
        self.proposed, self.told, self.planned = list(proposed), [], []

    def __call__(self, *given):
        self.given = given
        return self

    def plan(self, *what):
        self.planned.append(what)

    def ask(self):
        return self.proposed.pop(0) if self.proposed else np.empty((0, len(DIGITS.sizes)), np.intp)

    def tell(self, population, scores):
        self.told.append((population.tolist(), scores.tolist()))


@pytest.fixture
def scripted(monkeypatch):
    def begin(*proposed):
        made = Scripted(*proposed)
        made.names = []
        monkeypatch.setattr("hwnas.search.algorithms.load", lambda name: made.names.append(name) or made)
        return made

    return begin


def test_a_search_ends_when_nothing_is_left_to_propose_and_says_so(scripted):
    rows = DIGITS.sample(30, np.random.default_rng(0))
    made, told = scripted(rows[:20], rows[20:]), []
    found = searched(100, Constraints(), report=lambda _, done, text: told.append((done, text)))
    assert found.evaluations == len(found.scores) == 30 and not made.proposed
    assert [done for done, _ in told] == [0.2, 0.3, 1.0] and told[-1][1] == f"best {MACS(rows).max():.4f}"


def test_the_algorithm_is_told_of_all_that_is_scored_and_of_what_was_known_before(scripted):
    rows = DIGITS.sample(30, np.random.default_rng(0))
    made = scripted(rows[:20], rows[20:])
    known = Found.of(rows[:1], MACS(rows[:1]), 1)
    found = searched(25, Constraints(), start=[known])
    assert made.told == [(part.tolist(), MACS(part).tolist()) for part in (rows[:1], rows[:20], rows[20:25])]
    assert found.evaluations == 25 and len(found.population) == 26


def test_gains_choose_annealing_and_are_planned_with_and_a_name_that_is_given_wins(scripted):
    for gains, given, name in (
        (None, None, "evolution"),
        (MACS.exchanged, None, "annealing"),
        (None, "nsga2", "nsga2"),
    ):
        made = scripted()
        searched(7, gains=gains, algorithm=given)
        assert made.names == [name] and made.planned == [(7, gains)] and made.given[:2] == (DIGITS, HALF)


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
