"""Rounds visit every model once in a new order each time, and end for a reason the plan names."""

import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle
from math import inf, isclose

import numpy as np
import pytest

import profilers.rounds
from profilers.measurement import Plan, Visit
from profilers.rounds import COMPANY, Round, shuffled_rounds, unconverged


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
        sessions = {name: [self.session(name, ms, noise)] for name, ms in models.items()}
        sentinel = self.session("sentinel", 0.1)
        return list(shuffled_rounds(sessions, sentinel, plan, earlier or {}, inf, np.random.default_rng(0)))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    clock = Clock()
    monkeypatch.setattr(profilers.rounds, "time", clock)
    monkeypatch.setattr(profilers.rounds, "_preemptions", lambda: 0)  # those of the machine that runs the tests
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

    sessions = {"a": [lab.session("a", 5.0)]}
    visits = [
        found.visits["a"] for found in shuffled_rounds(sessions, sentinel, ENDLESS, {}, inf, np.random.default_rng(0))
    ]
    # `a` runs four times to warm up and twice a visit: the sentinel was slow between the fourth visit and the fifth.
    assert [visit.sentinel_ms for visit in visits] == [0.1] * 3 + [0.13] * 2 + [0.1] * 7


def test_the_sentinel_is_read_by_its_fastest_run(lab: Lab) -> None:
    """Its first run finds its memory where a large model has left it."""
    readings = cycle([0.3, 0.1, 0.2])
    sessions = {"a": [lab.session("a", 5.0)]}
    rounds = shuffled_rounds(sessions, lambda: next(readings), ENDLESS, {}, inf, np.random.default_rng(0))
    assert {found.visits["a"].sentinel_ms for found in rounds} == {0.1}


def test_one_model_that_lacks_calm_visits_is_enough_to_go_on_for() -> None:
    plan = Plan(target_pct=1.0, min_samples=10)
    calm, disturbed = [Visit(1.0, 0.1)] * 10, [Visit(1.0, 0.2)]
    assert unconverged({"a": calm, "b": calm + disturbed}, plan, inf) == (frozenset(), False)
    assert unconverged({"a": calm, "b": calm[1:] + disturbed}, plan, inf) == ({"b"}, True)
    assert unconverged({"a": calm, "b": []}, plan, inf) == ({"a", "b"}, True)


def test_short_models_run_several_times_a_visit_and_long_ones_once(lab: Lab) -> None:
    lab.rounds(Plan(target_pct=0.0, max_rounds=1, warmup_runs=0, visit_ms=1.0), {"short": 0.25, "long": 40.0})
    visit_of_short, visit_of_long = 3 + 3, 1 + 3  # in the warm-up: runs that settle the caches, and three
    assert lab.ran.count("short") == visit_of_short + 3 + 4
    assert lab.ran.count("long") == visit_of_long + 1 + 1


def test_a_visit_begins_with_runs_that_do_not_count_three_or_fewer_once_a_millisecond_has_passed(lab: Lab) -> None:
    for ms, settling in ((0.1, 3), (0.4, 3), (0.5, 2), (0.9, 2), (1.0, 1), (40.0, 1)):
        name = f"{ms} ms"
        lab.rounds(Plan(target_pct=0.0, max_rounds=1, warmup_runs=0, visit_ms=ms), {name: ms})
        assert lab.ran.count(name) == settling + 3 + settling + 1  # in the warm-up, and in the visit


def loads_of(lab: Lab, *times: float) -> list:
    """One model loaded several times, each load as fast as its memory happens to be laid out."""
    return [lab.session(f"load {i}", ms) for i, ms in enumerate(times)]


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_model_that_is_loaded_several_times_is_visited_in_each_load_in_turn(lab: Lab, before: int) -> None:
    times = (1.0, 1.1, 1.2)
    earlier = {"a": [Visit(times[i % 3], 0.1) for i in range(before)]}
    rounds = shuffled_rounds({"a": loads_of(lab, *times)}, lambda: 0.1, ENDLESS, earlier, inf, np.random.default_rng(0))
    visited = [found.visits["a"].ms for found in rounds]
    assert visited == [times[i % 3] for i in range(before, ENDLESS.max_rounds)]


def test_a_visit_repeats_every_load_of_a_model_equally_often(lab: Lab) -> None:
    plan = Plan(target_pct=0.0, max_rounds=2, warmup_runs=0, visit_ms=1.0)
    list(shuffled_rounds({"a": loads_of(lab, 0.25, 0.5)}, lambda: 0.1, plan, {}, inf, np.random.default_rng(0)))
    slowest_fill_a_visit = 2
    assert lab.ran.count("load 0") == (3 + 3) + 3 + slowest_fill_a_visit  # in the warm-up, then in the visit
    assert lab.ran.count("load 1") == (2 + 3) + 2 + slowest_fill_a_visit


def test_warm_up_runs_come_before_everything_else(lab: Lab) -> None:
    lab.rounds(Plan(target_pct=0.0, max_rounds=1, warmup_runs=7), {"a": 50.0})
    assert lab.ran[:7] == ["a"] * 7
    assert lab.ran.count("a") == 7 + 4 + 2


def test_rounds_end_when_every_interval_is_narrow(lab: Lab) -> None:
    plan = Plan(target_pct=1.0, min_samples=10, max_rounds=200, time_limit_s=1e9)
    rounds = lab.rounds(plan, MODELS, noise=0.002)
    assert len(rounds) == 10


def test_models_that_have_converged_are_visited_all_the_same_where_a_batch_is_small(lab: Lab) -> None:
    plan = Plan(target_pct=1.0, min_samples=10, max_rounds=200, time_limit_s=1e9, warmup_runs=0)
    steady = {f"steady {i}": [lab.session(f"steady {i}", 2.0)] for i in range(COMPANY - 2)}
    sessions = steady | {"noisy": [lab.session("noisy", 2.0, noise=0.04)]}
    sentinel = lab.session("sentinel", 0.1)
    rounds = list(shuffled_rounds(sessions, sentinel, plan, {}, inf, np.random.default_rng(0)))
    assert 10 < len(rounds) < 200
    assert all(set(found.visits) == set(sessions) for found in rounds)
    assert rounds[0].pending == set(sessions) and rounds[-1].pending == {"noisy"}


def crowd(lab: Lab, noisy: int) -> list[Round]:
    """Rounds of thirty models, of which all but some converge as soon as they may."""
    plan = Plan(target_pct=0.1, min_samples=10, max_rounds=40, time_limit_s=1e9, warmup_runs=0)
    sessions = {f"{i}": [lab.session(f"{i}", 1.0 + i / 10, noise=0.3 if i < noisy else 0.0)] for i in range(30)}
    return list(shuffled_rounds(sessions, lab.session("sentinel", 0.1), plan, {}, inf, np.random.default_rng(0)))


def test_models_that_have_converged_make_room_for_the_others(lab: Lab) -> None:
    rounds = crowd(lab, noisy=2)
    assert all(found.pending == {f"{i}" for i in range(30)} and len(found.visits) == 30 for found in rounds[:10])
    assert len(rounds) == 40
    for found in rounds[10:]:
        assert found.pending == {"0", "1"} <= set(found.visits) and len(found.visits) == COMPANY


def test_the_company_of_those_that_are_pending_changes_from_round_to_round(lab: Lab) -> None:
    company = [frozenset(found.visits) - found.pending for found in crowd(lab, noisy=2)[10:]]
    assert len(set(company)) > 20
    assert frozenset().union(*company) == {f"{i}" for i in range(2, 30)}


def test_more_models_pending_than_company_needs_are_visited_among_themselves(lab: Lab) -> None:
    rounds = crowd(lab, noisy=COMPANY + 3)
    assert all(set(found.visits) == found.pending == {f"{i}" for i in range(COMPANY + 3)} for found in rounds[10:])


def a_system_that_preempts(runs: set[int], took_ms: list[float], monkeypatch: pytest.MonkeyPatch):
    """A session that takes the given times in turn, and that the system preempts in the runs with these numbers."""
    done, count = [0], [0]
    monkeypatch.setattr(profilers.rounds, "_preemptions", lambda: count[0])

    def run() -> float:
        count[0] += done[0] in runs
        done[0] += 1
        return took_ms[(done[0] - 1) % len(took_ms)]

    return run


ONE_VISIT = Plan(target_pct=0.0, max_rounds=1, warmup_runs=0, visit_ms=3.0)
UNMEASURED = 1 + 3 + 1  # in the warm-up one and the three that a visit's length is found by, then one before the visit


def only_visit(session, plan: Plan = ONE_VISIT) -> Visit:
    (found,) = shuffled_rounds({"a": [session]}, lambda: 0.1, plan, {}, inf, np.random.default_rng(0))
    return found.visits["a"]


def test_runs_that_the_system_preempted_are_left_out_of_a_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [1.0] * UNMEASURED + [9.0, 1.25, 7.0]
    struck = {UNMEASURED, UNMEASURED + 2}
    assert only_visit(a_system_that_preempts(struck, times, monkeypatch)) == Visit(1.25, 0.1, preempted=False)
    assert only_visit(a_system_that_preempts(set(), times, monkeypatch)) == Visit(7.0, 0.1, preempted=False)


def test_a_visit_all_runs_of_which_were_preempted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [1.0] * UNMEASURED + [9.0, 1.25, 7.0]
    struck = {UNMEASURED, UNMEASURED + 1, UNMEASURED + 2}
    assert only_visit(a_system_that_preempts(struck, times, monkeypatch)) == Visit(7.0, 0.1, preempted=True)


def test_where_the_system_tells_nothing_of_preemption_all_runs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which has no `resource`."""
    monkeypatch.setitem(sys.modules, "resource", None)
    spec = importlib.util.spec_from_file_location("rounds_elsewhere", profilers.rounds.__file__)
    elsewhere = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, elsewhere)
    spec.loader.exec_module(elsewhere)
    assert elsewhere._preemptions() == 0
    sessions, rng = {"a": [lambda: 1.0]}, np.random.default_rng(0)
    (found,) = elsewhere.shuffled_rounds(sessions, lambda: 0.1, ONE_VISIT, {}, inf, rng)
    assert found.visits["a"] == Visit(1.0, 0.1, preempted=False)


BUSY = "while True: pass"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no processes")
def test_a_neighbour_on_the_same_cpu_preempts_long_runs() -> None:
    """A run of two hundred ms is longer than any scheduler lets one of two processes have the CPU to itself."""

    def run() -> float:
        started_s, used_s = time.monotonic(), time.process_time()
        while time.process_time() < used_s + 0.2:
            pass
        return (time.monotonic() - started_s) * 1e3

    before = os.sched_getaffinity(0)
    cpu = {max(before)}
    with subprocess.Popen([sys.executable, "-c", BUSY]) as neighbour:
        try:
            os.sched_setaffinity(neighbour.pid, cpu)
            os.sched_setaffinity(0, cpu)
            assert only_visit(run).preempted
        finally:
            os.sched_setaffinity(0, before)
            neighbour.kill()


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
    sessions, sentinel = {"a": [lab.session("a", 5.0)]}, lab.session("sentinel", 0.1)
    rounds = shuffled_rounds(sessions, sentinel, ENDLESS, {}, inf, np.random.default_rng(0))
    assert isclose(next(rounds).visits["a"].ms, 5.0)
    assert lab.ran.count("a") == 4 + 2


@pytest.mark.parametrize(("ms", "least_s", "most_s"), [(60.0, 1.5, 2.5), (200.0, 3.0, 4.5)])
def test_time_is_extended_up_to_threefold_for_calm_visits(lab: Lab, ms: float, least_s: float, most_s: float) -> None:
    plan = Plan(target_pct=1e-9, min_samples=15, max_rounds=10**6, time_limit_s=1.0, warmup_runs=0)
    started_s = lab.clock.now_s
    assert len(lab.rounds(plan, {"slow": ms}, noise=0.1)) >= min(15, 3000 / ms / 2 - 1)
    assert least_s < lab.clock.now_s - started_s < most_s
