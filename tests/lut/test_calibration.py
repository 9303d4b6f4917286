"""A calibration finds the relation there is, judges itself by nets it has not seen, and refuses what is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import PolynomialFeatures

from lut.calibration import Calibration
from profilers.errors import InvalidInputError, UntrustedError

SUMS = np.linspace(2.0, 11.0, 10)
UNSEEN = np.linspace(1.0, 15.0, 7)


@settings(deadline=None)
@given(offset=st.floats(-0.5, 5), slope=st.floats(0.3, 3), seed=st.integers(0, 99))
def test_an_exact_affine_relation_is_recovered(offset: float, slope: float, seed: int) -> None:
    sums = np.random.default_rng(seed).uniform(2, 11, 12)
    fit = Calibration.fit(sums, offset + slope * sums)
    assert fit.latency_ms(UNSEEN) == pytest.approx(offset + slope * UNSEEN, rel=1e-6)
    assert fit.max_error_pct < 1e-6


@settings(deadline=None)
@given(offset=st.floats(0, 5), slope=st.floats(0.3, 3), bend=st.floats(0.01, 0.3), seed=st.integers(0, 99))
def test_an_exact_quadratic_relation_is_recovered(offset: float, slope: float, bend: float, seed: int) -> None:
    sums = np.random.default_rng(seed).uniform(2, 11, 12)
    fit = Calibration.fit(sums, offset + slope * sums + bend * sums**2)
    assert fit.coefficients == pytest.approx((offset, slope, bend), rel=1e-5, abs=1e-5)
    assert fit.latency_ms(UNSEEN) == pytest.approx(offset + slope * UNSEEN + bend * UNSEEN**2, rel=1e-5)


def noisy(noise: float, bend: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sums = rng.uniform(2, 11, 16)
    return sums, (0.4 + 0.9 * sums + bend * sums**2) * (1 + noise * rng.standard_normal(16))


@pytest.mark.parametrize("bend", [0.0, 0.08])
@pytest.mark.parametrize("seed", range(5))
def test_errors_are_those_on_nets_left_out_of_the_fit(seed: int, bend: float) -> None:
    sums, measured = noisy(0.02, bend, seed)
    fit = Calibration.fit(sums, measured)
    features = PolynomialFeatures(len(fit.coefficients) - 1, include_bias=False).fit_transform(sums[:, None])
    weights = {"sample_weight": measured**-2.0}  # squares of relative errors
    left_out = cross_val_predict(LinearRegression(), features, measured, cv=LeaveOneOut(), params=weights)
    assert fit.errors_pct == pytest.approx(100 * (left_out / measured - 1), rel=1e-6, abs=1e-9)
    seen = 100 * (fit.latency_ms(sums) / measured - 1)
    assert fit.spread_pct > np.sqrt(np.mean(seen**2))
    whole = LinearRegression().fit(features, measured, **weights)
    assert fit.coefficients == pytest.approx((whole.intercept_, *whole.coef_), rel=1e-6)


def test_a_statistic_is_what_its_name_says() -> None:
    fit = Calibration(coefficients=(0.0, 1.0), errors_pct=(3.0, -4.0, 0.0, -1.0))
    assert (fit.mean_error_pct, fit.max_error_pct) == (2.0, 4.0)
    assert fit.spread_pct == pytest.approx(6.5**0.5)


def test_a_quadratic_term_is_used_only_where_it_predicts_better() -> None:
    straight = [len(Calibration.fit(*noisy(0.02, seed=seed)).coefficients) for seed in range(20)]
    bent = [len(Calibration.fit(*noisy(0.002, bend=0.08, seed=seed)).coefficients) for seed in range(20)]
    assert straight.count(2) > 10 and bent == [3] * 20


def test_one_percent_weighs_the_same_in_a_fast_net_as_in_a_slow_one() -> None:
    sums = np.array([1.0, 1.0, 1.0, 1.0, 100.0, 100.0, 100.0, 100.0])
    measured = sums * [1.01, 1.01, 1.01, 0.97, 1.01, 1.01, 1.01, 0.97]
    fit = Calibration.fit(sums, measured)
    fast, slow = fit.latency_ms(np.array([1.0, 100.0])) / [1.0, 100.0]
    assert fast == pytest.approx(slow, rel=1e-6)


@pytest.mark.parametrize("nets", range(6))
def test_fewer_than_six_nets_are_refused(nets: int) -> None:
    with pytest.raises(InvalidInputError, match=f"needs 6 measured whole nets and has {nets}"):
        Calibration.fit(SUMS[:nets], SUMS[:nets])


def test_six_nets_are_enough() -> None:
    assert Calibration.fit(SUMS[:6], 2 * SUMS[:6]).latency_ms(UNSEEN) == pytest.approx(2 * UNSEEN)


@pytest.mark.parametrize("measured", [20 - SUMS, 30 / SUMS, 40 - 0.3 * SUMS**2])
def test_nets_that_get_faster_with_their_blocks_are_not_trusted(measured: np.ndarray) -> None:
    with pytest.raises(UntrustedError, match="do not get slower") as refused:
        Calibration.fit(SUMS, measured)
    assert refused.value.exit_code == 5


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), noise=st.floats(0, 0.5), bend=st.floats(-0.02, 0.1))
def test_whatever_was_measured_a_dearer_sum_is_a_dearer_net(seed: int, noise: float, bend: float) -> None:
    sums, measured = noisy(noise, bend, seed)
    try:
        fit = Calibration.fit(sums, np.abs(measured) + 0.01)
    except UntrustedError:
        return
    assert (np.diff(fit.latency_ms(np.linspace(0, 100, 50))) > 0).all()
