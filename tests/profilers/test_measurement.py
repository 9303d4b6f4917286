"""Intervals cover what they claim, and the undisturbed latency is found beneath a noisy neighbour."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from profilers.errors import UnknownNameError
from profilers.measurement import (
    CALM_QUANTILE,
    CALM_TOLERANCE,
    CONFIDENCE,
    LEAST_BATCH,
    LEAST_CALM,
    Measurement,
    Plan,
    Visit,
    all_undisturbed,
    calm_sentinel_ms,
    calmest_batch_ms,
    plan_named,
    undisturbed,
)

times = st.floats(1e-4, 1e4)
samples = st.lists(times, min_size=1, max_size=40)
quantiles = st.sampled_from([0.5, CALM_QUANTILE])


def coverage(quantile: float, count: int, sets: int = 6000) -> float:
    """How often the interval holds the quantile of what the samples are drawn from: skewed, as latencies are."""
    truth = math.exp(NormalDist(0, 0.3).inv_cdf(quantile))
    intervals = [
        Measurement(tuple(drawn), quantile).interval_ms
        for drawn in np.exp(np.random.default_rng(1).normal(0, 0.3, (sets, count)))
    ]
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize("count", [20, 60])
def test_the_interval_covers_the_true_median_about_95_times_in_100(count: int) -> None:
    assert 0.92 <= coverage(0.5, count) <= 0.975


@pytest.mark.parametrize("count", [20, 60])
def test_the_interval_covers_the_true_lower_quartile_about_95_times_in_100(count: int) -> None:
    assert 0.94 <= coverage(CALM_QUANTILE, count) <= 0.97


@given(st.lists(times, min_size=25, max_size=200, unique=True), st.sampled_from([CALM_QUANTILE, 0.5, 0.7]))
def test_the_interval_is_scipys_exact_one_less_a_part_of_a_rank_at_each_end(
    values: list[float], quantile: float
) -> None:
    ordered = sorted(values)
    exact = scipy.stats.quantile_test(values, q=np.median(values), p=quantile).confidence_interval(CONFIDENCE)
    low, high = Measurement(tuple(values), quantile).interval_ms
    assert exact.low <= low <= ordered[ordered.index(exact.low) + 1]
    assert ordered[ordered.index(exact.high) - 1] <= high <= exact.high


def test_the_interval_narrows_with_the_root_of_the_number_of_samples() -> None:
    rng = np.random.default_rng(1)
    widths = [
        np.mean([Measurement(tuple(rng.normal(100, 5, count))).half_width_pct for _ in range(60)])
        for count in (25, 400)
    ]
    assert 3 < widths[0] / widths[1] < 5.3  # sqrt(400 / 25) = 4


@given(samples, quantiles)
def test_the_quantile_lies_within_its_interval_and_the_interval_within_the_samples(
    values: list[float], quantile: float
) -> None:
    measurement = Measurement(tuple(values), quantile)
    low, high = measurement.interval_ms
    assert measurement.latency_ms == np.quantile(values, quantile)
    assert min(values) <= low <= measurement.latency_ms <= high <= max(values)


@given(samples)
def test_statistics_are_a_function_of_the_samples_alone(values: list[float]) -> None:
    first, second = Measurement(tuple(values)), Measurement(tuple(values))
    assert (first.latency_ms, first.interval_ms) == (second.latency_ms, second.interval_ms)


@given(samples, st.integers(-6, 6))
def test_half_width_is_a_share_of_the_median_whatever_the_unit(values: list[float], exponent: int) -> None:
    plain, scaled = Measurement(tuple(values)), Measurement(tuple(value * 2.0**exponent for value in values))
    low, high = plain.interval_ms
    assert plain.half_width_pct == pytest.approx((high - low) / 2 / np.median(values) * 100)
    assert scaled.half_width_pct == pytest.approx(plain.half_width_pct)


@pytest.mark.parametrize("bad", [(), (0.0,), (1.0, -1.0), (math.nan,), (1.0, math.inf)])
def test_no_samples_and_impossible_samples_are_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="positive times"):
        Measurement(bad)


def test_convergence_needs_both_enough_samples_and_a_narrow_interval() -> None:
    plan = Plan(target_pct=1.0, min_samples=10)
    assert not Measurement((5.0,) * 9).converged(plan)
    assert Measurement((5.0,) * 10).converged(plan)
    assert Measurement((5.0,) * 10).converged(replace(plan, target_pct=0.0))  # to the target itself
    assert not Measurement((4.0, 6.0) * 10).converged(plan)


def test_an_unknown_plan_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownNameError, match="careful, default, quick"):
        plan_named("sloppy")


def two_speeds(model_ms: float, seed: int, visits: int = 100, calm: float = 0.3) -> list[Visit]:
    """A device that a neighbour slows 70 % of the time: the sentinel by 1.3, the model by 1.7; 1 % jitter."""
    rng = np.random.default_rng(seed)
    is_calm = rng.permutation(visits) < calm * visits
    jitter = 1 + 0.01 * rng.uniform(-1, 1, (2, visits))
    ms = model_ms * np.where(is_calm, 1, 1.7) * jitter[0]
    sentinel_ms = 0.1 * np.where(is_calm, 1, 1.3) * jitter[1]
    return [Visit(*pair) for pair in zip(ms.tolist(), sentinel_ms.tolist(), strict=True)]


@pytest.mark.parametrize("seed", range(10))
def test_the_calm_latency_is_found_where_a_plain_median_is_far_off(seed: int) -> None:
    visits = two_speeds(4.0, seed)
    found = undisturbed(visits, calm_sentinel_ms(visits))
    assert abs(found.latency_ms / 4.0 - 1) < 0.01
    assert found.interval_ms[0] > 0.97 * 4.0 and found.interval_ms[1] < 1.03 * 4.0
    assert abs(np.median([visit.ms for visit in visits]) / 4.0 - 1) > 0.2


def test_the_calm_speed_is_that_of_all_models_of_a_batch() -> None:
    lucky, unlucky = two_speeds(1.0, 0), two_speeds(4.0, 1, calm=0.1)
    calm_ms = calm_sentinel_ms([*lucky, *unlucky])
    assert abs(calm_ms / 0.1 - 1) < 0.015
    assert abs(undisturbed(unlucky, calm_ms).latency_ms / 4.0 - 1) < 0.015


@pytest.mark.parametrize("visits", [1, 3, 4, 100])
def test_without_a_calm_visit_the_calmest_are_scaled_by_the_sentinel(visits: int) -> None:
    never_calm = two_speeds(4.0, 0, visits=visits, calm=0.0)
    found = undisturbed(never_calm, calm_ms=0.1)
    assert len(found.samples_ms) == {1: 1, 3: 3, 4: 4, 100: 25}[visits]
    assert found.latency_ms == pytest.approx(4.0 * 1.7 / 1.3, rel=0.02)
    assert found.interval_ms == (pytest.approx(4.0, rel=0.04), pytest.approx(4.0 * 1.7, rel=0.02))
    assert found.calm_visits == 0 and not found.converged(Plan(target_pct=50.0, min_samples=1))


@pytest.mark.parametrize("slowed", [1.0, 1.3, 1.47, 1.69])
def test_without_a_calm_visit_the_interval_holds_whatever_a_neighbour_may_do_to_the_model(slowed: float) -> None:
    """A sentinel that is slowed 1.3 times does not say by how much the model is: by nothing, or by the square."""
    never_calm = [replace(visit, ms=visit.ms / 1.7 * slowed) for visit in two_speeds(4.0, 0, calm=0.0)]
    low, high = undisturbed(never_calm, calm_ms=0.1).interval_ms
    assert 0.97 * low < 4.0 < 1.03 * high


@given(st.lists(st.builds(Visit, times, times, st.booleans()), min_size=1, max_size=40), times)
def test_calm_visits_count_as_the_clock_had_them_and_others_only_where_they_lack(
    visits: list[Visit], calm_ms: float
) -> None:
    found = undisturbed(visits, calm_ms)
    calm = [visit for visit in visits if visit.sentinel_ms <= CALM_TOLERANCE * calm_ms and not visit.preempted]
    if len(calm) >= LEAST_CALM:
        assert sorted(found.samples_ms) == sorted(visit.ms for visit in calm)
    else:
        assert set(found.samples_ms) <= {visit.ms * calm_ms / visit.sentinel_ms for visit in visits}
        assert len(found.samples_ms) >= min(LEAST_CALM, len(visits))
        calmest = min(visits, key=lambda visit: (visit.preempted, visit.sentinel_ms))
        assert calmest.ms * calm_ms / calmest.sentinel_ms in found.samples_ms


@pytest.mark.parametrize("seed", range(5))
def test_what_stands_for_the_visits_is_the_lower_quartile_of_the_calm_ones(seed: int) -> None:
    visits = two_speeds(4.0, seed)
    calm_ms = calm_sentinel_ms(visits)
    calm = [visit.ms for visit in visits if visit.calm(calm_ms)]
    assert LEAST_CALM <= len(calm) < len(visits)
    assert undisturbed(visits, calm_ms).latency_ms == np.quantile(calm, 0.25)


@given(st.integers(LEAST_CALM, 60), st.lists(times, max_size=60), st.integers(0, 2**32 - 1))
def test_preempted_visits_do_not_count_while_enough_others_are_calm(
    calm: int, preempted: list[float], seed: int
) -> None:
    visits = two_speeds(4.0, seed, visits=calm, calm=1.0)
    interrupted = [Visit(ms, 0.1, preempted=True) for ms in preempted]
    mixed = [(visits + interrupted)[i] for i in np.random.default_rng(seed).permutation(calm + len(interrupted))]
    assert sorted(undisturbed(mixed, 0.1).samples_ms) == sorted(visit.ms for visit in visits)


def test_where_every_visit_was_preempted_they_are_all_there_is() -> None:
    visits = two_speeds(4.0, seed=0, visits=12, calm=1.0)
    interrupted = [replace(visit, preempted=True) for visit in visits]
    assert not any(visit.calm(0.1) for visit in interrupted)
    assert set(undisturbed(interrupted, 0.1).samples_ms) <= {v.ms * 0.1 / v.sentinel_ms for v in visits}


def upward_move(before: Measurement, after: Measurement) -> tuple[float, float]:
    """How far the latency and the upper end of its interval have moved, relative to what they were."""
    return after.latency_ms / before.latency_ms - 1, after.interval_ms[1] / before.interval_ms[1] - 1


def test_what_disturbs_between_the_sentinels_runs_moves_the_lower_quartile_less_than_the_median() -> None:
    """Of visits that seem calm three in ten took a fifth longer: the median drifts with them, and its interval."""
    of_quartiles, of_medians = [], []
    for seed in range(20):
        visits = two_speeds(4.0, seed, visits=60, calm=1.0)
        hit = np.random.default_rng(seed).permutation(60) < 0.3 * 60
        longer = [replace(v, ms=1.2 * v.ms) if struck else v for v, struck in zip(visits, hit, strict=True)]
        of_quartiles.append(upward_move(*(undisturbed(found, 0.1) for found in (visits, longer))))
        of_medians.append(upward_move(*(Measurement(tuple(v.ms for v in found)) for found in (visits, longer))))
    assert all(0 <= latency < 0.01 for latency, _ in of_quartiles)
    assert (np.mean(of_quartiles, axis=0) < np.mean(of_medians, axis=0)).all()


def readings(sentinel_ms: float, count: int) -> list[Visit]:
    return [Visit(1.0, sentinel_ms)] * count


def test_the_calmest_batch_is_the_fastest_of_those_that_are_large_enough_to_be_believed() -> None:
    slow, fast, lucky = readings(0.13, 300), readings(0.1, LEAST_BATCH), readings(0.05, LEAST_BATCH - 1)
    assert calmest_batch_ms([slow, lucky, fast]) == 0.1
    assert calmest_batch_ms([slow, lucky]) == 0.13


def test_where_every_batch_is_small_all_of_them_are_read_together() -> None:
    few = [readings(0.13, 60), readings(0.1, 3), readings(0.12, 37)]
    together = calm_sentinel_ms(visit for batch in few for visit in batch)
    assert calmest_batch_ms(iter(few)) == together > 0.11


def test_the_best_pace_is_found_over_all_models_that_were_measured_together() -> None:
    visits = {"calm": [Visit(2.0, 0.1)] * 10, "slowed": [Visit(4.0, 0.13)] * 10}
    found = all_undisturbed(visits)
    assert found == {name: undisturbed(of_one, 0.1) for name, of_one in visits.items()}
    assert found["calm"].calm_visits == 10 and found["slowed"].calm_visits == 0


def test_just_enough_calm_visits_are_believed_and_one_fewer_are_not() -> None:
    calm, slowed = Visit(2.0, CALM_TOLERANCE * 0.1), Visit(3.0, 0.1301)
    assert undisturbed([calm] * LEAST_CALM + [slowed] * 9, 0.1) == Measurement((2.0,) * LEAST_CALM, CALM_QUANTILE)
    assert undisturbed([calm] * (LEAST_CALM - 1) + [slowed] * 9, 0.1).calm_visits == 0


def test_a_measurement_is_told_with_its_interval_and_how_much_it_rests_on() -> None:
    assert str(Measurement((2.0, 2.0, 2.0))) == "2 ms [2, 2] over 3 calm visits"
    assert str(Measurement((2.0, 2.0, 2.0), doubt=1.25)) == "2 ms [1.6, 2.5] over 0 calm visits"
