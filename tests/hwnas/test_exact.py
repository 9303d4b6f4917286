"""What is called the optimum is that of an exhaustive search, and what is certified of it holds."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.search import integer_program
from hwnas.search.algorithms import exact
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.elimination import Elimination
from hwnas.search.engine import search
from hwnas.search.optimum import solve
from hwnas.search.problem import Problem
from hwnas.search.relaxation import relax
from hwnas.spaces import open_space
from lut.compiled import Compiled

from ..kit import small

SMALL, DIGITS = small(16, 24), open_space("digits")
EVERY_ROW = np.unique(SMALL.canonical(np.array(list(product(*map(range, SMALL.sizes))))), axis=0)

seeds = st.integers(0, 2**32 - 1)
shares = st.lists(st.floats(0, 1), min_size=0, max_size=3)


def random_cost(space, seed, *, most=False):
    values = np.random.default_rng(seed).uniform(0.01, 5, len(space.vocabulary))
    return Compiled.of(space, dict(zip(space.vocabulary, values, strict=True)).__getitem__, most=most)


def limits(space, seed, shares, *, most=False):
    """Constraints whose limits lie these shares of the way between the least and the largest cost of a few nets."""
    found = []
    for number, share in enumerate(shares):
        cost = random_cost(space, seed + 1 + number, most=most and number == 0)
        least, high = cost.least()[0], cost(space.sample(50, np.random.default_rng(seed))).max()
        found.append(Constraint(f"cost {number}", cost, float(least + share * (high - least))))
    return Constraints(tuple(found))


@given(seeds, shares, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_optimum_is_that_of_an_exhaustive_search_under_any_number_of_constraints(seed, shares, most):
    value, constraints = random_cost(SMALL, seed), limits(SMALL, seed, shares, most=most)
    feasible = EVERY_ROW[constraints.met(EVERY_ROW)]
    found = solve(value, constraints)
    assert found.gap == 0
    assert found.value == value(feasible).max(initial=-np.inf)
    assert constraints.met(found.near).all() and (value(found.near) == found.values).all()


@given(seeds, st.lists(st.floats(0.05, 1), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None)
def test_an_integer_program_finds_the_same_optimum(seed, shares):
    value, constraints = random_cost(DIGITS, seed), limits(DIGITS, seed, shares)
    row, bound = integer_program.solve(Problem.of(value, constraints), 60.0)
    found = solve(value, constraints)
    assert found.gap == 0
    assert found.value == pytest.approx(bound, rel=1e-7)
    assert (value(row) <= found.value).all()


@given(seeds, shares)
@settings(max_examples=30, deadline=None)
def test_no_feasible_architecture_is_worth_more_than_the_relaxed_bound(seed, shares):
    value, constraints = random_cost(SMALL, seed), limits(SMALL, seed, shares)
    problem = Problem.of(value, constraints)
    bound = relax(problem, Elimination(problem.sizes, problem.scopes), np.zeros(len(shares))).bound
    assert (value(EVERY_ROW[constraints.met(EVERY_ROW)]) <= bound + 1e-9).all()


@given(seeds, st.floats(1e-6, 1))
@settings(max_examples=20, deadline=None)
def test_with_a_tolerance_the_gap_is_stated_and_true(seed, tolerance):
    value, constraints = random_cost(SMALL, seed), limits(SMALL, seed, [0.3])
    best = value(EVERY_ROW[constraints.met(EVERY_ROW)]).max()
    found = solve(value, constraints, tolerance=tolerance)
    assert found.gap <= tolerance + 1e-12
    assert best - found.gap - 1e-12 <= found.value <= best


def test_a_bound_that_is_out_of_reach_is_proof():
    cost = random_cost(SMALL, 0)
    found = solve(random_cost(SMALL, 1), Constraints((Constraint("cost", cost, cost.least()[0] * 0.999),)))
    assert len(found.near) == 0 and found.bound == -np.inf and found.gap == 0


def test_values_that_are_all_the_same_are_an_optimum_at_once():
    flat = Compiled(DIGITS.sizes, [((0,), np.full(DIGITS.sizes[0], 0.5))])
    found = solve(flat, limits(DIGITS, 0, [0.3, 0.5]))
    assert found.value == 0.5 and found.gap == 0


@pytest.mark.parametrize("seed", range(3))
def test_an_accuracy_that_is_a_sum_is_optimised_exactly(seed):
    score, constraints = random_cost(DIGITS, seed), limits(DIGITS, seed, [0.3, 0.6])
    found = search(DIGITS, constraints, score, np.random.default_rng(seed), algorithm="exact", evaluations=700)
    assert found.scores[0] == solve(score, constraints).value


def test_the_certificate_of_the_last_surrogate_can_be_looked_at():
    score, constraints = random_cost(DIGITS, 0), limits(DIGITS, 0, [0.3])
    searcher = exact.build(DIGITS, constraints, np.random.default_rng(0))
    for _ in range(2):
        population = searcher.ask()
        searcher.tell(population, score(population))
    assert searcher.optimum.gap == 0
    assert searcher.surrogate.value(population).max() == searcher.optimum.value
