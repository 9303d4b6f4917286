"""Shuffled rounds: the models of a batch are visited in turn, in a new order each time, until all intervals are narrow.

Contiguous runs do not buy precision on a busy machine: neighbours come and go over seconds, and a model that
is timed in one stretch is timed in one of their moods. Rounds spread the samples of each model over the whole
time. A model whose interval is narrow enough makes room for the others, but never are fewer than a dozen visited
in turn: a network that is alone with few others finds its weights in caches that in real use are not its own.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from profilers.backends import Session
from profilers.measurement import Plan, Visit, calm_sentinel_ms, undisturbed

try:
    import resource
except ImportError:  # not on Windows, where nobody tells
    resource = None  # type: ignore[assignment]

MAX_RUNS_PER_VISIT = 20
SETTLING_RUNS, SETTLING_MS = 3, 1.0
"""Runs that do not count at the start of a visit: at most so many, and no more once so much time has passed. Whatever
ran before has taken the caches: of a block of 0.18 ms the first run took 1.5 times what the fourth took, the second 1.2
times, the third 1.03 times. With one such run, blocks that had two runs a visit seemed 10 % slower than with three."""
RUNS_OF_SENTINEL, SENTINEL_MS = 3, 2.0
ROUNDS_PER_CHECK = 5
EXTENSION = 3.0
COMPANY = 12  # models that are visited in turn at least, converged or not


@dataclass(frozen=True)
class Round:
    """One visit to each model in question; `pending` names those whose interval was still too wide before it."""

    visits: Mapping[str, Visit]
    pending: frozenset[str]


def shuffled_rounds(
    sessions: Mapping[str, Sequence[Session]],
    sentinel: Session,
    plan: Plan,
    earlier: Mapping[str, Sequence[Visit]],
    calm_ms: float,
    rng: np.random.Generator,
    clock: str = "wall",
) -> Iterator[Round]:
    """Yield rounds until every model has converged or a limit of the plan is reached.

    `sessions` holds each model once or, loaded anew each time, several times; visits go to these in turn.
    `earlier` holds the visits of an interrupted measurement; they count towards intervals and limits.
    By the `cpu` clock no visit counts as preempted: that clock stands still meanwhile.
    `calm_ms` is what the sentinel is known to take on the undisturbed device; infinite where nothing is known.
    Rounds are counted by the model visited least, so a new model is measured beside others that had all theirs. The
    time limit is extended, up to threefold, while a model has too few calm visits to be judged at all.
    """
    runs = {name: min(_warm(session, plan) for session in loads) for name, loads in sessions.items()}
    pace_runs = _runs_of_sentinel(sentinel, plan)
    visits = {name: list(earlier.get(name, ())) for name in sessions}
    started = time.monotonic()
    pending, starved = frozenset(sessions), True
    before_ms = _pace(sentinel, pace_runs)
    first = min(map(len, visits.values()), default=plan.max_rounds)
    for done in range(first, plan.max_rounds):
        if done == first or done % ROUNDS_PER_CHECK == 0:
            pending, starved = unconverged(visits, plan, calm_ms)
        spent_s = time.monotonic() - started
        if not pending or spent_s > (EXTENSION if starved else 1.0) * plan.time_limit_s:
            return
        found = {}
        for name in turn(list(sessions), pending, rng):
            loads = sessions[name]
            ms, preempted = _visit(loads[len(visits[name]) % len(loads)], runs[name])
            after_ms = _pace(sentinel, pace_runs)
            found[name] = Visit(ms, max(before_ms, after_ms), preempted and clock == "wall")
            visits[name].append(found[name])
            before_ms = after_ms
        yield Round(found, pending)


def turn(names: list[str], pending: frozenset[str], rng: np.random.Generator) -> list[str]:
    """The models of one round in a random order: those that are pending, and some of the others for company."""
    shuffled: list[str] = rng.permutation(names).tolist()
    company = [name for name in shuffled if name not in pending][: max(0, COMPANY - len(pending))]
    return [name for name in shuffled if name in pending or name in company]


def _warm(session: Session, plan: Plan) -> int:
    """Warm a session up; returns how many runs make a visit."""
    for _ in range(plan.warmup_runs):
        session()
    ms, _ = _visit(session, 3)
    return max(1, min(MAX_RUNS_PER_VISIT, round(plan.visit_ms / ms)))


def _runs_of_sentinel(sentinel: Session, plan: Plan) -> int:
    """Warm the sentinel up; returns how many runs make a reading: on slow devices one, or it took all the time."""
    _warm(sentinel, plan)
    return max(1, min(RUNS_OF_SENTINEL, round(SENTINEL_MS / min(sentinel() for _ in range(RUNS_OF_SENTINEL)))))


def _pace(sentinel: Session, runs: int) -> float:
    """The fastest of a few runs of the sentinel: the first ones find its memory where a large model has left it."""
    return min(sentinel() for _ in range(runs))


def _visit(session: Session, runs: int) -> tuple[float, bool]:
    """The median run, of those that were not preempted if there is one, and whether all were."""
    settling_ms = 0.0
    for _ in range(SETTLING_RUNS):
        settling_ms += session()
        if settling_ms >= SETTLING_MS:
            break
    whole, broken = list[float](), list[float]()
    for _ in range(runs):
        before = _preemptions()
        ms = session()
        (whole if _preemptions() == before else broken).append(ms)
    return statistics.median(whole or broken), not whole


def _system_preemptions() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


_preemptions: Callable[[], int] = _system_preemptions if resource else lambda: 0
"""How often the system has taken the CPU away from this process to give it to another."""


def unconverged(visits: Mapping[str, Sequence[Visit]], plan: Plan, known_ms: float) -> tuple[frozenset[str], bool]:
    """The models whose intervals are still too wide, and whether one has fewer calm visits than the plan's least."""
    if not all(visits.values()):
        return frozenset(visits), True
    calm_ms = min(known_ms, calm_sentinel_ms(visit for values in visits.values() for visit in values))
    found = {name: undisturbed(v, calm_ms) for name, v in visits.items()}
    starved = any(sum(visit.calm(calm_ms) for visit in v) < plan.min_samples for v in visits.values())
    return frozenset(name for name, m in found.items() if not m.converged(plan)), starved
