"""What users ask of an architecture, as constraints: each limit is on what its name says."""

from dataclasses import replace

import numpy as np
import pytest

from hwnas import costs
from hwnas.search.limits import Limits
from hwnas.spaces import open_space
from lut.calibration import Calibration
from lut.compiled import Compiled
from lut.latency_model import LatencyModel
from profilers.errors import InvalidInputError
from profilers.formats import Form

DIGITS = open_space("digits")
ROWS = DIGITS.sample(50, np.random.default_rng(0))
NETS = [list(DIGITS.layers(DIGITS.arch(row)).values()) for row in ROWS]


def model(errors_pct=(2.0, -1.0, 1.0, -2.0), doubt=None):
    cost = Compiled.of(DIGITS, lambda block: block.macs / 1e6)
    calibration = Calibration(constant_ms=0.0, per_ms=1.0, errors_pct=errors_pct)
    return LatencyModel(cost, calibration, doubt=doubt)


def test_every_limit_excludes_by_its_own_quantity():
    asked = Limits(macs=3e6, params=2e5, memory_bytes=1e5, form=Form("int8", "split"))
    found = asked.constraints(DIGITS, {"a": model(), "b": model()}, {"a": 2.5, "b": 2.0})
    met = [
        all([
            sum(b.macs for b in net) <= min(3e6, 2.5e6, 2.0e6),
            sum(b.params for b in net) <= 2e5,
            max(b.peak_activation_bytes for b in net) / 4 <= 1e5,
        ])
        for net in NETS
    ]  # fmt: skip
    assert found.met(ROWS).tolist() == met and any(met) and not all(met)


def quantities(net, form):
    """What each limit is on, counted slowly."""
    return {
        "macs": sum(b.macs for b in net),
        "params": sum(b.params for b in net),
        "memory_bytes": max(b.peak_activation_bytes for b in net) // (4 if form.precision == "int8" else 1),
    }


@pytest.mark.parametrize("name", ["macs", "params", "memory_bytes"])
@pytest.mark.parametrize("form", [Form(), Form("int8", "split")])
def test_each_limit_alone_excludes_what_has_more_of_its_quantity_and_nothing_else(name, form):
    counted = [quantities(net, form)[name] for net in NETS]
    most = sorted(counted)[len(counted) // 2]
    (only,) = Limits(**{name: most}, form=form).constraints(DIGITS, {}, {}).all
    assert only.met(ROWS).tolist() == [count <= most for count in counted] and only.limit == most


def test_a_limit_on_the_file_is_on_the_file_in_its_format_and_form():
    for format, form in (("onnx", Form()), ("onnx", Form("int8", "split")), ("tflite", Form())):
        size = costs.file_bytes(DIGITS, format, form)(ROWS)
        most = float(np.median(size))
        (only,) = Limits(file_bytes=most, format=format, form=form).constraints(DIGITS, {}, {}).all
        assert only.met(ROWS).tolist() == (size <= most).tolist() and 0 < only.met(ROWS).sum() < len(ROWS)


def test_latencies_of_devices_come_first_in_the_order_asked_for():
    asked = Limits(macs=3e6, params=2e5, memory_bytes=1e5, file_bytes=1e6)
    found = asked.constraints(DIGITS, {"a": model(), "b": model()}, {"b": 2.0, "a": 1.0})
    assert [(c.name, c.limit) for c in found.all[:2]] == [("latency on b", 2.0), ("latency on a", 1.0)]
    assert [c.told(3e6) for c in found.all] == ["3000000 ms", "3000000 ms", "3 M", "3 M", "3 MB", "3 MB"]


def test_what_a_device_has_no_time_for_meets_no_constraint():
    """And the least that is told is one of an architecture that can do without."""
    unknown = max(DIGITS.layers(DIGITS.arch(ROWS[0])).values(), key=lambda block: block.macs)
    without = replace(model(), unavailable=frozenset({unknown}))
    found = Limits(macs=1e9).constraints(DIGITS, {"a": model(), "b": without}, {"a": 1e9, "b": 1e9})
    can = [unknown not in net for net in NETS]
    assert any(can) and not all(can)
    assert [constraint.met(ROWS).tolist() for constraint in found.all] == [can] * 3
    assert (found.all[0].cost(ROWS)[can] == model().cost(ROWS)[can]).all()


def test_where_no_architecture_can_do_without_what_has_no_time_one_of_it_is_named():
    head = list(DIGITS.layers(DIGITS.smallest).values())[-1]
    every = [block for block in DIGITS.vocabulary if type(block) is type(head)]
    without = replace(model(), unavailable=frozenset(every))
    with pytest.raises(InvalidInputError, match=rf"the {len(every)} blocks that have no time on a, e.g. linear"):
        Limits().constraints(DIGITS, {"a": without}, {"a": 2.0})


def test_no_limit_is_met_by_everything():
    assert Limits().constraints(DIGITS, {}, {}).met(ROWS).all()


def test_at_a_confidence_the_upper_end_keeps_the_budget():
    (sure,) = Limits(confidence_pct=95).constraints(DIGITS, {"a": model()}, {"a": 2.0}).all
    # Student's t with three degrees of freedom: 3.182 standard deviations hold 95 %.
    share = 1 + 3.182 * np.sqrt(np.mean(np.square([2.0, 1.0, 1.0, 2.0]))) / 100
    np.testing.assert_allclose(sure.cost(ROWS), model().latency_ms(ROWS) * share, rtol=1e-4)
    assert "95 % confidence" in sure.name


def test_doubts_about_guessed_blocks_widen_the_interval():
    doubtful = model(doubt=lambda confidence_pct: Compiled.of(DIGITS, lambda _: confidence_pct / 1000))
    np.testing.assert_allclose(
        doubtful.upper(90)(ROWS) - model().upper(90)(ROWS), [0.09 * len(net) for net in NETS], rtol=1e-9
    )


def test_where_no_error_is_known_no_confidence_can_be_asked_for():
    with pytest.raises(InvalidInputError, match="no whole nets were measured: leave out the confidence"):
        Limits(confidence_pct=90).constraints(DIGITS, {"a": model(errors_pct=())}, {"a": 2.0})
