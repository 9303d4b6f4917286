"""Rounds visit every model once in a new order each time, and end for a reason the plan names."""

import math
from dataclasses import dataclass, field
from math import inf

import numpy as np
import pytest

import profilers.rounds
from profilers.measurement import Plan, Visit
from profilers.rounds import Round, shuffled_rounds


@dataclass
class Clock:
    """Stands in for the `time` module: nothing but sessions and sleeping takes time."""

    now_s: float = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds


@dataclass
class Lab:
    """Makes sessions that take a given time on the clock, and notes which of them ran."""

    clock: Clock
    ran: list[str] = field(default_factory=list)

    def session(self, name: str, ms: float, noise: float = 0.0):
        rng = np.random.default_rng(len(name))

        def run() -> float:
            took = ms * (1 + noise * float(rng.uniform(-1, 1)))
            self.ran.append(name)
            self.clock.now_s += took / 1e3
            return took

        return run

    def rounds(self, plan: Plan, models: dict[str, float], noise: float = 0.0, earlier=None) -> list[Round]:
        sessions = {name: self.session(name, ms, noise) for name, ms in models.items()}
        sentinel = self.session("sentinel", 0.1)
        return list(shuffled_rounds(sessions, sentinel, plan, earlier or {}, inf, np.random.default_rng(0)))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    clock = Clock()
    monkeypatch.setattr(profilers.rounds, "time", clock)
    return Lab(clock)


MODELS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0}
ENDLESS = Plan(target_pct=0.0, min_samples=10**9, max_rounds=12, time_limit_s=1e9, warmup_runs=0)


def orders(ran: list[str], per_round: int) -> list[tuple[str, ...]]:
    """The models in the order they were visited; the sentinel runs between any two visits."""
    joined = [name for name, before in zip(ran, ["", *ran], strict=False) if name != before]
    visits = [name for name in joined if name != "sentinel"][per_round:]  # the first ones are the warm-up
    return [tuple(visits[i : i + per_round]) for i in range(0, len(visits), per_round)]


def test_every_model_is_visited_once_a_round_and_the_order_changes(lab: Lab) -> None:
    rounds = lab.rounds(ENDLESS, MODELS)
    assert [set(found.visits) for found in rounds] == [set(MODELS)] * 12
    visited = orders(lab.ran, len(MODELS))
    assert [sorted(order) for order in visited] == [sorted(MODELS)] * 12
    assert len(set(visited)) > 6
    assert len({order[0] for order in visited}) == len(MODELS)


def test_a_visit_says_what_the_model_took(lab: Lab) -> None:
    for found in lab.rounds(ENDLESS, MODELS):
        assert {name: visit.ms for name, visit in found.visits.items()} == MODELS
        assert {visit.sentinel_ms for visit in found.visits.values()} == {0.1}


def test_a_visit_has_the_slower_of_the_sentinels_beside_it(lab: Lab) -> None:
    def sentinel() -> float:
        return 0.13 if len(lab.ran) == 12 else 0.1

    sessions = {"a": lab.session("a", 5.0)}
    visits = [
        found.visits["a"] for found in shuffled_rounds(sessions, sentinel, ENDLESS, {}, inf, np.random.default_rng(0))
    ]
    # `a` runs four times to warm up and twice a visit: the sentinel was slow between the fourth visit and the fifth.
    assert [visit.sentinel_ms for visit in visits] == [0.1] * 3 + [0.13] * 2 + [0.1] * 7


def test_short_models_run_several_times_a_visit_and_long_ones_once(lab: Lab) -> None:
    lab.rounds(Plan(target_pct=0.0, max_rounds=1, warmup_runs=0, visit_ms=1.0), {"short": 0.25, "long": 40.0})
    warm_up, unmeasured = 4, 1
    assert lab.ran.count("short") == warm_up + unmeasured + 4
    assert lab.ran.count("long") == warm_up + unmeasured + 1


def test_warm_up_runs_come_before_everything_else(lab: Lab) -> None:
    lab.rounds(Plan(target_pct=0.0, max_rounds=1, warmup_runs=7), {"a": 50.0})
    assert lab.ran[:7] == ["a"] * 7
    assert lab.ran.count("a") == 7 + 4 + 2


def test_rounds_end_when_every_interval_is_narrow(lab: Lab) -> None:
    plan = Plan(target_pct=1.0, min_samples=10, max_rounds=200, time_limit_s=1e9)
    rounds = lab.rounds(plan, MODELS, noise=0.002)
    assert len(rounds) == 10


def test_no_model_drops_out_before_the_last_has_converged(lab: Lab) -> None:
    plan = Plan(target_pct=1.0, min_samples=10, max_rounds=200, time_limit_s=1e9, warmup_runs=0)
    steady, noisy = lab.session("steady", 2.0), lab.session("noisy", 2.0, noise=0.04)
    sessions, sentinel = {"steady": steady, "noisy": noisy}, lab.session("sentinel", 0.1)
    rounds = list(shuffled_rounds(sessions, sentinel, plan, {}, inf, np.random.default_rng(0)))
    assert 10 < len(rounds) < 200
    assert all(set(found.visits) == {"steady", "noisy"} for found in rounds)
    assert rounds[0].pending == {"steady", "noisy"} and rounds[-1].pending == {"noisy"}


def test_rounds_end_at_the_greatest_number(lab: Lab) -> None:
    assert len(lab.rounds(Plan(target_pct=1e-9, max_rounds=17, time_limit_s=1e9), MODELS, noise=0.1)) == 17


def test_rounds_end_at_the_time_limit(lab: Lab) -> None:
    plan = Plan(target_pct=1e-9, max_rounds=1000, time_limit_s=1.0, warmup_runs=0)
    started_s = lab.clock.now_s
    rounds = lab.rounds(plan, MODELS, noise=0.1)
    a_round_s = 2 * sum(MODELS.values()) * 1.1 / 1e3 + 16 * 0.1 / 1e3
    assert len(rounds) >= 1.0 / a_round_s - 1
    assert 1.0 < lab.clock.now_s - started_s < 1.0 + 4 * a_round_s


def test_earlier_visits_count_towards_the_greatest_number_of_rounds(lab: Lab) -> None:
    earlier = {name: [Visit(ms, 0.1)] * 8 for name, ms in MODELS.items()}
    assert len(lab.rounds(ENDLESS, MODELS, earlier=earlier)) == 12 - 8


@pytest.mark.parametrize("done", [10, 13])
def test_earlier_visits_count_towards_convergence(lab: Lab, done: int) -> None:
    earlier = {name: [Visit(ms, 0.1)] * done for name, ms in MODELS.items()}
    plan = Plan(target_pct=1.0, min_samples=10, max_rounds=200)
    assert lab.rounds(plan, MODELS, earlier=earlier) == []


def test_a_new_model_beside_an_exhausted_one_is_measured_all_the_same(lab: Lab) -> None:
    earlier = {"a": [Visit(1.0, 0.1), Visit(2.0, 0.1)] * 6}
    rounds = lab.rounds(ENDLESS, {"a": 1.0, "new": 2.0}, earlier=earlier)
    assert len(rounds) == 12 and all("new" in found.visits for found in rounds)


def test_no_models_need_no_rounds(lab: Lab) -> None:
    assert lab.rounds(ENDLESS, {}) == []


def test_a_round_is_handed_over_before_the_next_one_begins(lab: Lab) -> None:
    sessions, sentinel = {"a": lab.session("a", 5.0)}, lab.session("sentinel", 0.1)
    rounds = shuffled_rounds(sessions, sentinel, ENDLESS, {}, inf, np.random.default_rng(0))
    assert math.isclose(next(rounds).visits["a"].ms, 5.0)
    assert lab.ran.count("a") == 4 + 2
