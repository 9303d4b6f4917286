"""Constraints: which architectures meet them, by how much others exceed them, and whether they exclude any at all."""

import numpy as np
import pytest

from hwnas.search.constraints import Constraint, Constraints
from hwnas.spaces import open_space
from lut.compiled import Compiled

DIGITS = open_space("digits")
MACS = Compiled.of(DIGITS, lambda block: block.macs)
PARAMS = Compiled.of(DIGITS, lambda block: block.params)
ROWS = DIGITS.sample(200, np.random.default_rng(0))


def test_excess_is_the_largest_share_of_a_limit_by_which_one_is_exceeded():
    limits = [float(np.median(cost(ROWS))) for cost in (MACS, PARAMS)]
    both = Constraints(tuple(Constraint(n, c, limit) for n, c, limit in zip("ab", (MACS, PARAMS), limits, strict=True)))
    shares = np.array([MACS(ROWS), PARAMS(ROWS)]).T / limits - 1
    assert both.excess(ROWS) == pytest.approx(shares.max(axis=1))
    assert set(shares.argmax(axis=1)) == {0, 1} and (shares.max(axis=1) < 0).any()
    assert (both.excess(ROWS) <= 0).tolist() == both.met(ROWS).tolist()


def test_a_limit_of_nothing_is_exceeded_by_less_where_the_cost_is_less():
    excess = Constraints((Constraint("a", MACS, 0.0),)).excess(ROWS)
    assert (excess > 0).all() and np.isfinite(excess).all()
    assert np.argsort(excess, kind="stable").tolist() == np.argsort(MACS(ROWS), kind="stable").tolist()
    assert Constraints((Constraint("a", MACS, -2e6),)).excess(ROWS) == pytest.approx(MACS(ROWS) / 2e6 + 1)


def test_no_constraint_is_never_exceeded():
    assert Constraints().excess(ROWS).tolist() == [-np.inf] * len(ROWS)


def test_what_costs_just_the_limit_is_within_it():
    cost = float(MACS(ROWS[:1])[0])
    assert Constraint("a", MACS, cost).met(ROWS[:1]).tolist() == [True]
    assert Constraints((Constraint("a", MACS, cost),)).excess(ROWS[:1]).tolist() == [0.0]


def test_a_constraint_is_loose_where_the_greatest_cost_is_within_it():
    greatest = MACS.greatest()
    assert Constraint("a", MACS, greatest).loose()
    assert not Constraint("a", MACS, np.nextafter(greatest, 0)).loose()


@pytest.mark.parametrize(
    ("value", "unit", "per_unit", "told"),
    [
        (0.0, "ms", 1.0, "0 ms"),
        (1.0, "", 1.0, "1"),
        (0.123412, "ms", 1.0, "0.1235 ms"),
        (-0.123412, "ms", 1.0, "-0.1234 ms"),
        (12_341_200.0, "MB", 1e6, "12.35 MB"),
        (12.34 + 1e-12, "ms", 1.0, "12.34 ms"),
    ],
)
def test_costs_are_told_to_four_digits_and_never_below_what_they_are(value, unit, per_unit, told):
    assert Constraint("a", MACS, 1.0, unit, per_unit).told(value) == told
