"""Every search algorithm found in `hwnas.search.algorithms` keeps the contract of one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.pricing import AdditiveCost
from hwnas.search import algorithms, engine
from hwnas.search.constraints import Constraint
from hwnas.search.engine import search
from hwnas.spaces import open_space
from hwnas.spaces.ofa_mbv3 import MobileNetV3Space, Stage
from profilers.errors import InfeasibleError, UnknownNameError

from ..kit import small

DIGITS = open_space("digits")
SMALL = small(16, 24)
EVERY_ROW = np.unique(SMALL.canonical(np.array(list(product(*map(range, SMALL.sizes))))), axis=0)
GENERATIONS = 8

each_algorithm = pytest.mark.parametrize("name", algorithms.names())
seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 1)


def random_costs(space, seed):
    values = np.random.default_rng(seed).uniform(0.01, 5, len(space.vocabulary))
    return AdditiveCost(space, dict(zip(space.vocabulary, values, strict=True)).__getitem__)


def budget(space, cost, share):
    """A limit that lies `share` of the way from the least cost to that of the largest architecture or above."""
    least, _ = cost.least()
    return Constraint("cost", cost, least + share * abs(cost(space.row(space.largest)[None])[0] - least), "ms")


def proposals(space, constraint, name, seed, generations=GENERATIONS):
    """What an algorithm asks for, generation by generation, scored by a random additive accuracy."""
    searcher = algorithms.load(name)(space, constraint, np.random.default_rng(seed))
    score, found = random_costs(space, seed + 1), []
    for _ in range(generations):
        population = searcher.ask()
        if not len(population):
            break
        searcher.tell(population, score(population))
        found.append(population)
    return found


@each_algorithm
@given(seeds, shares)
@settings(max_examples=12, deadline=None)
def test_proposals_are_canonical_within_the_budget_and_new(name, seed, share):
    for space in (SMALL, DIGITS):
        constraint = budget(space, random_costs(space, seed), share)
        rows = np.concatenate(proposals(space, constraint, name, seed))
        assert constraint.met(rows).all()
        assert (space.canonical(rows) == rows).all()
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert (rows >= 0).all() and (rows < space.sizes).all()


@each_algorithm
@given(seeds)
@settings(max_examples=5, deadline=None)
def test_the_same_seed_proposes_the_same(name, seed):
    constraint = budget(DIGITS, random_costs(DIGITS, seed), 0.3)
    first, again, other = (proposals(DIGITS, constraint, name, s) for s in (seed, seed, seed + 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@each_algorithm
def test_a_scoring_that_changes_what_it_is_given_confuses_no_algorithm(name):
    """Rows that were told are told as they were asked, whatever the caller does with its copy afterwards."""
    constraint = budget(SMALL, random_costs(SMALL, 0), 0.5)
    searcher = algorithms.load(name)(SMALL, constraint, np.random.default_rng(0))
    seen = set()
    for _ in range(3):
        population = searcher.ask()
        assert not seen & {row.tobytes() for row in population}
        seen |= {row.tobytes() for row in population}
        searcher.tell(population.copy(), np.zeros(len(population)))
        population[:] = 0


@each_algorithm
@given(seeds)
@settings(max_examples=12, deadline=None)
def test_a_budget_of_just_the_least_cost_is_met(name, seed):
    for space in (SMALL, DIGITS):
        cost = random_costs(space, seed)
        least, arch = cost.least()
        found = search(
            space,
            Constraint("cost", cost, least, "ms"),
            random_costs(space, 1),
            np.random.default_rng(0),
            algorithm=name,
        )
        assert space.row(arch).tolist() in found.population.tolist()
        assert (cost(found.population) == least).all()


@each_algorithm
@given(seeds)
@settings(max_examples=12, deadline=None)
def test_a_budget_below_the_least_cost_is_answered_with_the_least_cost(name, seed):
    cost = random_costs(SMALL, seed)
    limit = np.nextafter(cost.least()[0], 0)
    with pytest.raises(InfeasibleError, match="cost of at most") as caught:
        search(SMALL, Constraint("cost", cost, limit, "ms"), cost, np.random.default_rng(0), algorithm=name)
    assert caught.value.least == cost(EVERY_ROW).min()


@each_algorithm
def test_a_search_ends_when_there_is_nothing_left_to_propose(name):
    one = MobileNetV3Space(
        "one", resolutions=(16,), image_chs=1, stem_chs=8, stages=(Stage(8, 2, False, "relu"),), depths=(1,),
        kernels=(3, 5), expands=(3,), head_chs=(16, 16), classes=3,
    )  # fmt: skip
    cost = AdditiveCost(one, lambda block: block.macs)
    found = search(one, budget(one, cost, 1.0), cost, np.random.default_rng(0), algorithm=name)
    assert sorted(map(str, map(one.arch, found.population))) == ["one:16-1-3-3", "one:16-1-5-3"]


@each_algorithm
def test_a_search_ends_where_no_architecture_is_better_than_another(name):
    asked = []

    def flat(population):
        asked.append(len(population))
        return np.zeros(len(population))

    search(DIGITS, budget(DIGITS, random_costs(DIGITS, 0), 0.5), flat, np.random.default_rng(0), algorithm=name)
    assert len(asked) == engine.PATIENCE + 1


@each_algorithm
def test_what_is_found_is_sorted_and_holds_the_scores_it_was_given(name):
    score = random_costs(SMALL, 3)
    found = search(SMALL, budget(SMALL, random_costs(SMALL, 4), 0.4), score, np.random.default_rng(0), algorithm=name)
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.tolist() == score(found.population).tolist()
    assert found.evaluations == len(np.unique(found.population, axis=0))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_evolution_finds_what_exhaustive_search_finds(share, seed):
    cost, score = random_costs(SMALL, seed), random_costs(SMALL, 100 + seed)
    constraint = budget(SMALL, cost, share)
    best = score(EVERY_ROW[constraint.met(EVERY_ROW)]).max()
    assert search(SMALL, constraint, score, np.random.default_rng(seed)).scores[0] == best


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])  # below, so few are feasible that both find them all
@pytest.mark.parametrize("seed", range(3))
def test_evolution_beats_random_search_with_as_many_evaluations(share, seed):
    score, constraint = random_costs(DIGITS, 100 + seed), budget(DIGITS, random_costs(DIGITS, seed), share)
    evolved = np.concatenate(proposals(DIGITS, constraint, "evolution", seed, generations=12))
    drawn = np.concatenate(proposals(DIGITS, constraint, "random", seed, generations=40))[: len(evolved)]
    assert len(drawn) == len(evolved)
    assert score(evolved).max() > score(drawn).max()


def test_an_unknown_algorithm_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="evolution, random"):
        algorithms.load("annealing")
