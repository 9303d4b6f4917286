"""Where no architecture is within all limits there is proof, and what is named as attainable is attainable."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.feasibility import feasible_row
from hwnas.search.optimum import solve
from lut.compiled import Compiled
from profilers.errors import InfeasibleError

from ..kit import small

SMALL = small(16, 24)
EVERY_ROW = np.unique(SMALL.canonical(np.array(list(product(*map(range, SMALL.sizes))))), axis=0)


def random_cost(seed, *, most=False):
    values = np.random.default_rng(seed).uniform(0.01, 5, len(SMALL.vocabulary))
    return Compiled.of(SMALL, dict(zip(SMALL.vocabulary, values, strict=True)).__getitem__, most=most)


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(-0.05, 0.5), min_size=1, max_size=4), st.integers(0, 2))
@settings(max_examples=80, deadline=None)
def test_a_row_is_found_exactly_where_an_exhaustive_search_finds_one(seed, shares, largest):
    found = []
    for number, share in enumerate(shares):
        cost = random_cost(seed + number, most=number < largest)
        values = cost(EVERY_ROW)
        found.append(Constraint(f"cost {number}", cost, float(values.min() + share * np.ptp(values)), "ms"))
    constraints = Constraints(tuple(found))
    if constraints.met(EVERY_ROW).any():
        assert constraints.met(feasible_row(constraints)[None])[0]
    else:
        with pytest.raises(InfeasibleError, match="no architecture has a cost"):
            feasible_row(constraints)


def against(cost):
    """A cost that is small where the other is large."""
    return Compiled(cost.sizes, [(dims, table.max() - table) for dims, table in cost.factors])


def test_limits_that_exclude_each_other_are_named_with_what_each_could_come_down_to():
    one, other, third = random_cost(0), against(random_cost(0)), random_cost(1)
    a, b = (float(cost.least()[0] + 0.1 * np.ptp(cost(EVERY_ROW))) for cost in (one, other))
    free = Constraint("third", third, float(third(EVERY_ROW).max()), "MB")
    constraints = Constraints((Constraint("latency", one, a, "ms"), free, Constraint("energy", other, b, "mJ")))
    with pytest.raises(InfeasibleError) as caught:
        feasible_row(constraints)
    least_energy = other(EVERY_ROW[one(EVERY_ROW) <= a]).min()
    least_latency = one(EVERY_ROW[other(EVERY_ROW) <= b]).min()
    assert caught.value.least == pytest.approx(least_energy, rel=1e-3)
    assert f"energy {constraints.all[2].told(caught.value.least)}" in str(caught.value)
    named = float(str(caught.value).split("latency ")[-1].split(" ms")[0])
    assert named == pytest.approx(least_latency, rel=2e-3)
    assert "third" not in str(caught.value)


def test_a_least_is_found_as_exactly_as_it_takes_to_tell_whether_the_limit_can_be_kept(monkeypatch):
    """A first answer may be off by a thousandth; only where the limit lies in between is a better one asked for."""
    one, other = random_cost(0), against(random_cost(0))
    a = float(one.least()[0] + 0.1 * np.ptp(one(EVERY_ROW)))
    least, asked = float(other(EVERY_ROW[one(EVERY_ROW) <= a]).min()), []

    def roughly(value, constraints, *, tolerance):
        asked.append(tolerance)
        found = solve(value, constraints)
        return replace(found, values=found.values - tolerance / 2, bound=found.bound + tolerance / 2)

    monkeypatch.setattr("hwnas.search.feasibility.solve", roughly)
    for limit, times in ((1.01 * least, 1), (least, 2), (0.9996 * least, 2), (0.99 * least, 1)):
        asked.clear()
        both = Constraints((Constraint("latency", one, a), Constraint("energy", other, limit)))
        if limit > least:
            assert both.met(feasible_row(both)[None])[0]
        else:
            with pytest.raises(InfeasibleError) as caught:  # of the very least too: not even the second is exact
                feasible_row(both)
            assert caught.value.least == pytest.approx(least, rel=1e-3 if times == 1 else 1e-6)
        assert asked[:times] == pytest.approx([1e-3 * limit, 1e-6 * limit][:times])
        assert len(asked) == times or limit <= least


def test_limits_of_which_any_two_can_be_met_but_not_all_three_are_all_named_with_their_leasts():
    costs = [random_cost(8), random_cost(9)]
    costs.append(against(Compiled(SMALL.sizes, [*costs[0].factors, *costs[1].factors])))
    values = np.array([cost(EVERY_ROW) for cost in costs])
    limits = values.min(axis=1) + np.array([0.3, 0.4, 0.5]) * np.ptp(values, axis=1)
    met = values <= limits[:, None]
    assert all(np.delete(met, left_out, 0).all(axis=0).any() for left_out in range(3)) and not met.all(axis=0).any()
    free = Constraint("d", random_cost(7), 1e3)
    named = [Constraint(name, cost, limit) for name, cost, limit in zip("abc", costs, limits.tolist(), strict=True)]
    with pytest.raises(InfeasibleError) as caught:
        feasible_row(Constraints((*named[:2], free, named[2])))
    told = str(caught.value).split("the least attainable is ")[1].split(";")[0]
    leasts = {part.split()[0]: float(part.split()[1]) for part in told.split(", ")}
    for number, constraint in enumerate(named):
        others = np.delete(met, number, 0).all(axis=0)
        assert leasts.pop(constraint.name) == pytest.approx(values[number][others].min(), rel=2e-3)
    assert not leasts


def test_a_limit_below_the_least_is_answered_with_the_least_and_those_of_the_others():
    one, other = random_cost(0), random_cost(1)
    least = one(EVERY_ROW).min()
    constraints = Constraints((Constraint("latency", one, 0.9 * least, "ms"), Constraint("size", other, 100, "MB")))
    with pytest.raises(InfeasibleError, match=r"the least attainable is .* ms.*size") as caught:
        feasible_row(constraints)
    assert caught.value.least == least


def test_a_search_that_comes_to_no_end_is_given_up_and_says_so(monkeypatch):
    monkeypatch.setattr("hwnas.search.optimum.PARTS", 0)
    one, other = random_cost(0), against(random_cost(0))
    limits = [float(cost.least()[0] + 0.1 * np.ptp(cost(EVERY_ROW))) for cost in (one, other)]
    constraints = Constraints((Constraint("latency", one, limits[0]), Constraint("energy", other, limits[1])))
    with pytest.raises(InfeasibleError, match="no architecture was found that has a energy of at most"):
        feasible_row(constraints)


@given(st.floats(1e-6, 1e9), st.sampled_from([("", 1.0), ("ms", 1.0), ("M", 1e6)]))
def test_what_is_told_to_be_attainable_is(value, unit):
    name, per_unit = unit
    told = Constraint("cost", random_cost(0), value, name, per_unit).told(value)
    assert value <= float(told.removesuffix(name)) * per_unit * (1 + 1e-9) <= value * 1.0011
