"""Budgets asked for together: each stands alone, is answered in its place, and is told why where nothing keeps it."""

import numpy as np
import pytest

from hwnas.search.budgets import Refused, in_order, refused
from hwnas.search.constraints import Constraint, Constraints
from hwnas.spaces import open_space
from lut.compiled import Compiled
from profilers.errors import InfeasibleError, UntrustedError

DIGITS = open_space("digits")
COST = Compiled.of(DIGITS, lambda block: 0.01 + block.macs / 1e7)
LEAST_MS = COST.least()[0]


def problems(*budgets):
    return [Constraints(tuple(Constraint(f"latency on {d}", COST, ms, "ms") for d, ms in b.items())) for b in budgets]


def test_only_budgets_that_nothing_keeps_are_refused_each_with_its_own_error():
    budgets = [{"a": 0.5 * LEAST_MS}, {"a": 2 * LEAST_MS}, {"a": 2 * LEAST_MS, "b": 0.25 * LEAST_MS}, {"a": LEAST_MS}]
    first, second, third, fourth = refused(budgets, problems(*budgets))
    assert second is None and fourth is None
    assert first.budget is budgets[0] and "latency on a" in str(first.error)
    assert third.budget is budgets[2] and "latency on b" in str(third.error)


def test_where_all_are_refused_the_error_is_that_of_the_loosest():
    budgets = [{"a": share * LEAST_MS} for share in (0.2, 0.75, 0.5)]
    with pytest.raises(InfeasibleError, match=f"at most {problems(budgets[1])[0].all[0].told(0.75 * LEAST_MS)}"):
        refused(budgets, problems(*budgets))


def test_of_budgets_for_several_devices_the_largest_number_says_which_is_the_loosest():
    budgets = [{"a": 0.5 * LEAST_MS, "b": 0.6 * LEAST_MS}, {"a": 0.1 * LEAST_MS, "b": 0.9 * LEAST_MS}]
    with pytest.raises(InfeasibleError, match="latency on a of at most") as caught:
        refused(budgets, problems(*budgets))
    assert problems(budgets[1])[0].all[0].told(0.1 * LEAST_MS) in str(caught.value)


def test_other_limits_may_be_out_of_reach_where_no_latency_is_asked_for():
    size = Constraint("file size", COST, 0.5 * LEAST_MS)
    with pytest.raises(InfeasibleError, match="file size of at most"):
        refused([{}], [Constraints((size,))])


def test_no_budgets_are_no_error_and_none_is_refused():
    assert refused([], []) == []


def test_a_refused_budget_is_told_by_device_with_what_is_attainable_where_that_is_known():
    facts = Refused({"a": 1.0}, InfeasibleError("too little", 1.5)).facts()
    assert facts == {"device": "a", "budget_ms": 1.0, "error": "too little", "exit_code": 6, "least_attainable": 1.5}
    facts = Refused({"a": 1.0, "b": 2.0}, UntrustedError("none kept it")).facts()
    both = [{"device": "a", "budget_ms": 1.0}, {"device": "b", "budget_ms": 2.0}]
    assert facts == {**both[0], "error": "none kept it", "exit_code": 5, "devices": both}
    assert Refused({}, UntrustedError("none")).facts() == {"error": "none", "exit_code": 5}


@pytest.mark.parametrize("seed", range(5))
def test_answers_come_in_the_order_of_the_questions_also_of_equal_ones(seed):
    """Two devices may be given the same number, and a budget may be asked for twice."""
    budgets = [{"a": 1.0}, {"a": 1.0}, {"a": 2.0}, {"a": 1.0}, {"a": 3.0}]
    left_out = np.random.default_rng(seed).permutation(5)[:3]
    left = [Refused(budgets[i], UntrustedError(f"error {i}")) for i in left_out]
    done = [{"found": i} for i in range(5) if i not in left_out]
    answers = in_order(budgets, done, left)
    assert [a.get("found", a.get("error")) for a in answers] == [f"error {i}" if i in left_out else i for i in range(5)]
