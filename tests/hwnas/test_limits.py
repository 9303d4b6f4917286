"""What users ask of an architecture, as constraints: each limit is on what its name says."""

import numpy as np
import pytest

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
