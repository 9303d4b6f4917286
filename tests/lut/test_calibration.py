"""A calibration finds the relation there is, judges itself by nets it has not seen, and refuses what is none."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from lut.calibration import LEAST_NETS, NETS_PER_COEFFICIENT, Calibration, TimedBlock
from profilers.errors import InvalidInputError, UntrustedError

Net = list[TimedBlock]
TERMS = {"ms": 0, "blocks": 1, "mparams": 2}  # columns of `sums`
FEWEST, WITH_PARAMS, ALL = ["ms"], ["ms", "mparams"], ["ms", "blocks", "mparams"]


def random_nets(count: int, seed: int) -> list[Net]:
    """Nets whose times, numbers of blocks and numbers of parameters have little to do with each other."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 20, count)
    return [list(zip(rng.uniform(0.05, 1, n).tolist(), rng.integers(0, 10**6, n).tolist(), strict=True)) for n in sizes]


def sums(nets: Sequence[Net]) -> np.ndarray:
    """What a calibration may be made of: each net's ms, blocks and million parameters."""
    return np.array([[sum(ms for ms, _ in net), len(net), sum(params for _, params in net) / 1e6] for net in nets])


def latencies(nets: Sequence[Net], constant: float, per_ms: float, per_block: float, per_mparam: float) -> np.ndarray:
    return constant + sums(nets) @ [per_ms, per_block, per_mparam]


@settings(deadline=None)
@given(
    constant=st.floats(-0.05, 5), per_ms=st.floats(0.3, 3), per_block=st.floats(-0.01, 1),
    per_mparam=st.floats(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_every_coefficient_of_an_exact_relation_is_recovered(
    constant: float, per_ms: float, per_block: float, per_mparam: float, seed: int
) -> None:
    nets, truth = random_nets(24, seed), (constant, per_ms, per_block, per_mparam)
    fit = Calibration.fit(nets, latencies(nets, *truth))
    assert (fit.constant_ms, fit.per_ms, fit.per_block_ms, fit.per_mparam_ms) == pytest.approx(truth, abs=1e-6)
    assert fit.max_error_pct < 1e-3
    unseen = random_nets(5, seed + 100)
    assert [fit.latency_ms(net) for net in unseen] == pytest.approx(latencies(unseen, *truth), rel=1e-4)


nets_of_any_kind = st.lists(st.tuples(st.floats(1e-4, 1e3), st.integers(0, 10**8)), max_size=20)
coefficients = st.floats(-10, 10)


@given(nets_of_any_kind, coefficients, coefficients, coefficients, coefficients)
def test_a_net_costs_the_constant_and_what_its_blocks_add(
    net: Net, constant: float, per_ms: float, per_block: float, per_mparam: float
) -> None:
    fit = Calibration(
        constant_ms=constant, per_ms=per_ms, per_block_ms=per_block, per_mparam_ms=per_mparam, errors_pct=(0.0,)
    )
    added = [per_ms * ms + per_block + per_mparam * params / 1e6 for ms, params in net]
    assert [fit.block_ms(block) for block in net] == added
    assert fit.latency_ms(net) == pytest.approx(constant + math.fsum(added), rel=1e-9, abs=1e-9)


def noisy(noise: float, count: int = 16, seed: int = 0, **terms: float) -> tuple[list[Net], np.ndarray]:
    """Nets and what they take: 0.4 ms and 0.9 of their blocks', other terms where asked for, and noise."""
    nets = random_nets(count, seed)
    exact = latencies(nets, 0.4, 0.9, terms.get("per_block", 0.0), terms.get("per_mparam", 0.0))
    return nets, exact * (1 + noise * np.random.default_rng(seed + 1000).standard_normal(count))


def left_out_errors_pct(nets: Sequence[Net], measured: np.ndarray, terms: list[str]) -> np.ndarray:
    """Errors on each net of a regression on all others, weighted so that it minimises squares of relative errors."""
    features, weights = sums(nets)[:, [TERMS[term] for term in terms]], {"sample_weight": measured**-2.0}
    left_out = cross_val_predict(LinearRegression(), features, measured, cv=LeaveOneOut(), params=weights)
    return 100 * (left_out / measured - 1)


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("truth", [{}, {"per_mparam": 0.3}, {"per_block": 0.1}, {"per_block": 0.1, "per_mparam": 0.3}])
@pytest.mark.parametrize("seed", range(5))
def test_the_terms_are_those_that_predict_left_out_nets_best(seed: int, truth: dict[str, float]) -> None:
    nets, measured = noisy(0.02, seed=seed, **truth)
    errors = [left_out_errors_pct(nets, measured, terms) for terms in (FEWEST, WITH_PARAMS, ALL)]
    best = int(np.argmin([root_mean_square(found) for found in errors]))
    terms = (FEWEST, WITH_PARAMS, ALL)[best]
    fit = Calibration.fit(nets, measured)
    assert fit.errors_pct == pytest.approx(errors[best], rel=1e-6, abs=1e-9)
    assert fit.spread_pct == pytest.approx(root_mean_square(errors[best]))
    columns = [TERMS[term] for term in terms]
    whole = LinearRegression().fit(sums(nets)[:, columns], measured, sample_weight=measured**-2.0)
    expected = np.zeros(3)
    expected[columns] = whole.coef_
    assert (fit.constant_ms, fit.per_ms, fit.per_block_ms, fit.per_mparam_ms) == pytest.approx(
        (whole.intercept_, *expected), rel=1e-6
    )


@pytest.mark.parametrize("seed", range(5))
def test_errors_on_left_out_nets_are_larger_than_on_those_of_the_fit(seed: int) -> None:
    nets, measured = noisy(0.02, seed=seed)
    fit = Calibration.fit(nets, measured)
    assert fit.spread_pct > root_mean_square(100 * (np.array([fit.latency_ms(net) for net in nets]) / measured - 1))


def test_a_statistic_is_what_its_name_says() -> None:
    fit = Calibration(constant_ms=0.0, per_ms=1.0, errors_pct=(3.0, -4.0, 0.0, -1.0))
    assert (fit.mean_error_pct, fit.max_error_pct) == (2.0, 4.0)
    assert fit.spread_pct == pytest.approx(6.5**0.5)


def used(fit: Calibration) -> list[str]:
    return [term for term, per in zip(TERMS, (fit.per_ms, fit.per_block_ms, fit.per_mparam_ms), strict=True) if per]


def test_a_term_is_used_only_where_it_predicts_better() -> None:
    def terms(**truth: float) -> list[list[str]]:
        return [used(Calibration.fit(*noisy(0.01, seed=seed, **truth))) for seed in range(20)]

    assert terms().count(FEWEST) > 10
    assert terms(per_mparam=1.0).count(WITH_PARAMS) > 10 and FEWEST not in terms(per_mparam=1.0)
    assert terms(per_block=0.5, per_mparam=1.0) == [ALL] * 20


@pytest.mark.parametrize("count", range(LEAST_NETS, 4 * NETS_PER_COEFFICIENT + 1))
def test_few_nets_do_not_bear_many_coefficients(count: int) -> None:
    fit = Calibration.fit(*noisy(0.0, count=count, per_block=0.5, per_mparam=1.0))
    assert 1 + len(used(fit)) <= max(2, count // NETS_PER_COEFFICIENT)
    assert (used(fit) == ALL) == (count == 4 * NETS_PER_COEFFICIENT)


def net_of(ms: float, blocks: int = 1) -> Net:
    return [(ms / blocks, 0)] * blocks


def test_one_percent_weighs_the_same_in_a_fast_net_as_in_a_slow_one() -> None:
    times = np.array([1.0, 1.0, 1.0, 1.0, 100.0, 100.0, 100.0, 100.0])
    measured = times * [1.01, 1.01, 1.01, 0.97, 1.01, 1.01, 1.01, 0.97]
    fit = Calibration.fit([net_of(ms) for ms in times], measured)
    assert fit.latency_ms(net_of(1.0)) == pytest.approx(fit.latency_ms(net_of(100.0)) / 100, rel=1e-6)


TIMES = np.linspace(2.0, 11.0, 10)
NETS = [net_of(ms, blocks=3) for ms in TIMES]


@pytest.mark.parametrize("nets", range(LEAST_NETS))
def test_fewer_than_six_nets_are_refused(nets: int) -> None:
    with pytest.raises(InvalidInputError, match=f"needs 6 measured whole nets and has {nets}"):
        Calibration.fit(NETS[:nets], TIMES[:nets])


def test_six_nets_are_enough() -> None:
    fit = Calibration.fit(NETS[:6], 2 * TIMES[:6])
    assert [fit.latency_ms(net_of(ms)) for ms in (0.5, 15.0)] == pytest.approx([1, 30])


@pytest.mark.parametrize("measured", [20 - TIMES, 30 / TIMES, 40 - 0.3 * TIMES**2])
def test_nets_that_get_faster_with_their_blocks_are_not_trusted(measured: np.ndarray) -> None:
    with pytest.raises(UntrustedError, match="do not get slower") as refused:
        Calibration.fit(NETS, measured)
    assert refused.value.exit_code == 5


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), noise=st.floats(0, 0.5), per_block=st.floats(-0.05, 1), per_mparam=st.floats(0, 1))
def test_whatever_was_measured_a_dearer_block_makes_a_dearer_net(
    seed: int, noise: float, per_block: float, per_mparam: float
) -> None:
    nets, measured = noisy(noise, seed=seed, per_block=per_block, per_mparam=per_mparam)
    try:
        fit = Calibration.fit(nets, np.abs(measured) + 0.01)
    except UntrustedError:
        return
    assert (np.diff([fit.block_ms((ms, 1000)) for ms in np.linspace(0.01, 100, 50)]) > 0).all()
