"""What is attainable is shown before it is asked for, and a budget far above a space names the spaces that fit it."""

from itertools import product

import numpy as np
import pytest

from hwnas import costs
from hwnas.attainable import Range, advice, fitting
from hwnas.spaces import open_space

from ..kit import small

DIGITS = open_space("digits")
pytestmark = pytest.mark.usefixtures("no_settings")


def test_both_ends_are_those_of_all_architectures():
    space = small(16, 32)
    every = np.array(list(product(*map(range, space.sizes))), np.intp)
    for cost in (costs.macs(space), costs.params(space)):
        assert Range.of(cost) == Range(cost(every).min(), cost(every).max())


def test_a_space_is_shown_with_what_each_table_lets_it_attain(hwnas, workspace, model):
    (shown,) = hwnas("space", "show", "digits", "--workspace", workspace, "--json").json
    assert shown["dimensions"][0] == {"name": "resolution", "choices": [40]} and shown["blocks"] == 60
    largest = DIGITS.layers(DIGITS.largest).values()
    assert shown["macs"][1] == sum(block.macs for block in largest)
    (found,) = shown["latency"]
    assert found["device"] == "host"
    assert (found["least_ms"], found["greatest_ms"]) == (model.least()[0], model.cost.greatest())
    assert "host: " in hwnas("space", "show", "--workspace", workspace).out


def test_a_table_is_shown_with_what_it_lets_its_spaces_attain(hwnas, workspace, model):
    out = hwnas("table", "show", "--runtime", "fake", "--workspace", workspace).out
    assert f"digits at 40: attainable from {model.least()[0]:.4g} ms to {model.cost.greatest():.4g} ms" in out


def test_a_budget_far_above_the_space_names_one_that_fits_and_what_to_type(model):
    largest = model.cost.greatest()
    near, far = ({"host": factor * largest} for factor in (1.9, 100))
    assert advice(near, DIGITS, {"host": model}) == ""
    told = advice(far, DIGITS, {"host": model})
    first = fitting(far["host"], DIGITS, model)[0]
    assert "100 times" in told and "an estimate" in told and "\n" not in told
    assert f"hwnas specialize --space {first.space.name} --data imagefolder:FOLDER --latency" in told
    assert first.latency_ms.least <= far["host"]


def test_spaces_are_scaled_by_what_a_mac_takes_here(model):
    estimates = {one.space.name: one.latency_ms for one in fitting(1e9, DIGITS, model)}
    per_mac = (model.cost.greatest() - model.least()[0]) / (
        Range.of(costs.macs(DIGITS)).greatest - Range.of(costs.macs(DIGITS)).least
    )
    for name, found in estimates.items():
        assert found.greatest == pytest.approx(Range.of(costs.macs(open_space(name))).greatest * per_mac)
    assert "ofa-mbv3" in estimates and "digits" not in estimates
