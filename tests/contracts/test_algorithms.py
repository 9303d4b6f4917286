"""Every search algorithm found in `hwnas.search.algorithms` keeps the contract of one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.search import algorithms
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.engine import search
from hwnas.spaces import open_space
from hwnas.spaces.ofa_mbv3 import MobileNetV3Space, Stage
from lut.compiled import Compiled
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
    return Compiled.of(space, dict(zip(space.vocabulary, values, strict=True)).__getitem__)


def within(cost, limit):
    return Constraints((Constraint("cost", cost, limit, "ms"),))


def budget(space, cost, share):
    """A limit that lies `share` of the way from the least cost to that of the largest architecture or above."""
    least, _ = cost.least()
    return within(cost, least + share * abs(cost(space.row(space.largest)[None])[0] - least))


def several(space, seed, share):
    """Limits on two sums and on the largest block, and an architecture that is within all of them."""
    row = space.sample(1, np.random.default_rng(seed))
    values = np.random.default_rng(seed + 1).uniform(0.01, 5, len(space.vocabulary))
    peak = Compiled.of(space, dict(zip(space.vocabulary, values, strict=True)).__getitem__, most=True)
    costs = (random_costs(space, seed + 2), random_costs(space, seed + 3), peak)
    return Constraints(tuple(Constraint(f"cost {i}", c, c(row)[0] * (1 + share / 9)) for i, c in enumerate(costs))), row


def proposals(space, constraints, name, seed, generations=GENERATIONS):
    """What an algorithm asks for, generation by generation, scored by a random additive accuracy."""
    searcher = algorithms.load(name)(space, constraints, np.random.default_rng(seed))
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
def test_proposals_are_canonical_within_all_constraints_and_new(name, seed, share):
    for space, constraints in product((SMALL, DIGITS), ("one", "several", "none")):
        asked = {
            "one": lambda space=space: budget(space, random_costs(space, seed), share),
            "several": lambda space=space: several(space, seed, share)[0],
            "none": Constraints,
        }[constraints]()
        rows = np.concatenate(proposals(space, asked, name, seed))
        assert asked.met(rows).all()
        assert (space.canonical(rows) == rows).all()
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert (rows >= 0).all() and (rows < space.sizes).all()


@each_algorithm
@given(seeds, shares)
@settings(max_examples=3, deadline=None)
def test_no_block_without_a_time_is_ever_proposed(name, seed, share):
    """Holes in a table are no way to anywhere, whatever else is limited; least values are of what is left."""
    for space, limited in product((SMALL, DIGITS), ("one", "several")):
        rng = np.random.default_rng(seed)
        row = space.sample(1, rng)  # of which all blocks are there
        kept = set(space.layers(space.arch(row[0])).values())
        holes = {block for block in space.vocabulary if block not in kept and rng.random() < share}
        if not holes:
            continue
        available = Compiled.of(space, lambda block, holes=holes: np.inf if block in holes else 0.0)
        peak = Compiled.of(space, lambda block: block.peak_activation_bytes, most=True).only(available)
        costs = [random_costs(space, seed + number).only(available) for number in (2, 3)]
        most = max(cost.greatest() for cost in costs)
        limits = {
            "one": [Constraint("cost", costs[0], costs[0].least()[0] + share * most)],
            "several": [Constraint(f"cost {n}", c, float(c(row)[0]) * 1.1) for n, c in enumerate([*costs, peak])],
        }[limited]
        assert all(np.isfinite(constraint.cost.least()[0]) for constraint in limits)
        for found in np.unique(np.concatenate(proposals(space, Constraints(tuple(limits)), name, seed, 4)), axis=0):
            assert not holes & set(space.layers(space.arch(found)).values())


@pytest.mark.parametrize("kernel", [3, 5])
def test_with_holes_evolution_finds_what_exhaustive_search_finds(kernel):
    holes = {block for block in SMALL.vocabulary if getattr(block, "kernel", 0) == kernel and block.in_chs == 16}
    cost, score = random_costs(SMALL, 1), random_costs(SMALL, 2)
    cost = cost.only(Compiled.of(SMALL, lambda block: np.inf if block in holes else 0.0))
    limit = within(cost, cost.greatest() * 0.8)
    best = score(EVERY_ROW[limit.met(EVERY_ROW)]).max()
    assert holes and search(SMALL, limit, score, np.random.default_rng(0)).scores[0] == best
    assert search(SMALL, limit, score, np.random.default_rng(0), algorithm="exact").scores[0] == best


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
        least, row = cost.least()
        found = search(
            space,
            within(cost, least),
            random_costs(space, 1),
            np.random.default_rng(0),
            algorithm=name,
        )
        assert space.canonical(row[None])[0].tolist() in found.population.tolist()
        assert (cost(found.population) == least).all()


@each_algorithm
@given(seeds)
@settings(max_examples=12, deadline=None)
def test_a_budget_below_the_least_cost_is_answered_with_the_least_cost(name, seed):
    cost = random_costs(SMALL, seed)
    limit = np.nextafter(cost.least()[0], 0)
    with pytest.raises(InfeasibleError, match="cost") as caught:
        search(SMALL, within(cost, limit), cost, np.random.default_rng(0), algorithm=name)
    assert caught.value.least == cost(EVERY_ROW).min()


@each_algorithm
def test_a_search_ends_when_there_is_nothing_left_to_propose(name):
    one = MobileNetV3Space(
        "one", resolutions=(16,), image_chs=1, stem_chs=8, stages=(Stage(8, 2, False, "relu"),), depths=(1,),
        kernels=(3, 5), expands=(3,), head_chs=(16, 16), classes=3,
    )  # fmt: skip
    cost = Compiled.of(one, lambda block: block.macs)
    found = search(one, budget(one, cost, 1.0), cost, np.random.default_rng(0), algorithm=name)
    assert len(found.population) == found.evaluations == 2


@each_algorithm
def test_a_search_takes_no_more_evaluations_than_it_is_given_even_where_all_scores_are_equal(name):
    scored = []

    def flat(population):
        scored.extend(population.tolist())
        return np.zeros(len(population))

    constraints, rng = budget(DIGITS, random_costs(DIGITS, 0), 0.5), np.random.default_rng(0)
    found = search(DIGITS, constraints, flat, rng, algorithm=name, evaluations=777)
    assert found.evaluations == len(scored) == len(found.scores) <= 777
    assert name == "exact" or len(scored) == 777


@pytest.mark.parametrize("name", ["evolution", "random", "regularized"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 1.0])
def test_of_a_small_space_every_feasible_architecture_is_found(name, share):
    constraints, score = budget(SMALL, random_costs(SMALL, 5), share), random_costs(SMALL, 6)
    found = search(SMALL, constraints, score, np.random.default_rng(0), algorithm=name)
    assert sorted(found.population.tolist()) == EVERY_ROW[constraints.met(EVERY_ROW)].tolist()


@each_algorithm
def test_what_is_known_from_another_search_is_found_again_and_not_scored_again(name):
    score, cost = random_costs(DIGITS, 3), random_costs(DIGITS, 4)
    loose, tight = budget(DIGITS, cost, 0.5), budget(DIGITS, cost, 0.3)
    first = search(DIGITS, loose, score, np.random.default_rng(0), algorithm=name, evaluations=600)
    known = {tuple(row) for row in first.population.tolist()}
    asked = []

    def once(population):
        asked.extend(map(tuple, population.tolist()))
        return score(population)

    second = search(DIGITS, tight, once, np.random.default_rng(1), algorithm=name, evaluations=300, start=[first])
    also = first.population[tight.met(first.population)].tolist()
    assert not known & set(asked)
    assert sorted(second.population.tolist()) == sorted(also + [list(row) for row in asked])
    assert second.evaluations == len(asked) <= 300


@each_algorithm
def test_a_search_that_was_killed_asks_for_the_same_again(name):
    """Scores that are looked up where they were scored before make a repeated search reach the same answer."""
    constraints, score, known = budget(DIGITS, random_costs(DIGITS, 4), 0.5), random_costs(DIGITS, 3), {}

    def killed(population):
        if len(known) >= 250:
            raise KeyboardInterrupt
        known.update(zip(map(bytes, population), score(population), strict=True))
        return score(population)

    def resumed(population):
        return np.array([known.pop(bytes(row), score(row[None])[0]) for row in population])

    ask = {"algorithm": name, "evaluations": 800}
    with pytest.raises(KeyboardInterrupt):
        search(DIGITS, constraints, killed, np.random.default_rng(7), **ask)
    again = search(DIGITS, constraints, resumed, np.random.default_rng(7), **ask)
    unbroken = search(DIGITS, constraints, score, np.random.default_rng(7), **ask)
    assert not known
    assert np.array_equal(again.population, unbroken.population)


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


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_search_that_is_told_what_exchanges_gain_finds_what_exhaustive_search_finds(share, seed):
    cost, score = random_costs(SMALL, seed), random_costs(SMALL, 100 + seed)
    constraint = budget(SMALL, cost, share)
    best = score(EVERY_ROW[constraint.met(EVERY_ROW)]).max()
    found = search(SMALL, constraint, score, np.random.default_rng(seed), gains=score.exchanged)
    assert found.scores[0] == best


@pytest.mark.parametrize("guided", [True, False])
@given(seeds, shares)
@settings(max_examples=12, deadline=None)
def test_a_planned_search_keeps_all_constraints_and_scores_nothing_twice(guided, seed, share):
    constraints, _ = several(DIGITS, seed, share)
    score = random_costs(DIGITS, seed + 9)
    found = search(
        DIGITS, constraints, score, np.random.default_rng(seed), algorithm="annealing", evaluations=500,
        gains=score.exchanged if guided else None,
    )  # fmt: skip
    assert constraints.met(found.population).all()
    assert (DIGITS.canonical(found.population) == found.population).all()
    assert found.evaluations == len(np.unique(found.population, axis=0))


@pytest.mark.parametrize("name", ["evolution", "regularized"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])  # below, so few are feasible that both find them all
@pytest.mark.parametrize("seed", range(3))
def test_evolution_beats_random_search_with_as_many_evaluations(name, share, seed):
    """Few of them, as one has where a score is the accuracy of a subnet that is measured."""
    score, constraints = random_costs(DIGITS, 100 + seed), budget(DIGITS, random_costs(DIGITS, seed), share)
    evolved, drawn = (
        search(DIGITS, constraints, score, np.random.default_rng(seed), algorithm=each, evaluations=400)
        for each in (name, "random")
    )
    assert evolved.scores[0] > drawn.scores[0]


def test_an_unknown_algorithm_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="evolution"):
        algorithms.load("magic")
