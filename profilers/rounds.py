"""Shuffled rounds: every model of a batch is visited once a round, in a new order, until all intervals are narrow.

Contiguous runs do not buy precision on a busy machine: neighbours come and go over seconds, and a model that
is timed in one stretch is timed in one of their moods. Rounds spread the samples of each model over the whole
time, and no model drops out before the others, so all models of a batch are seen in the same moods.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from profilers.backends import Session
from profilers.measurement import Plan, Visit, calm_sentinel_ms, undisturbed

MAX_RUNS_PER_VISIT = 20
RUNS_OF_SENTINEL = 3
ROUNDS_PER_CHECK = 5


@dataclass(frozen=True)
class Round:
    """One visit to each model of a batch; `pending` names those whose interval was still too wide before it."""

    visits: Mapping[str, Visit]
    pending: frozenset[str]


def shuffled_rounds(
    sessions: Mapping[str, Session],
    sentinel: Session,
    plan: Plan,
    earlier: Mapping[str, Sequence[Visit]],
    calm_ms: float,
    rng: np.random.Generator,
) -> Iterator[Round]:
    """Yield rounds until every model has converged or a limit of the plan is reached.

    `earlier` holds the visits of an interrupted measurement; they count towards intervals and limits.
    `calm_ms` is what the sentinel is known to take on the undisturbed device; infinite where nothing is known.
    Rounds are counted by the model visited least, so a new model is measured beside others that had all theirs.
    """
    runs = {name: _warm(session, plan) for name, session in sessions.items()}
    _warm(sentinel, plan)
    visits = {name: list(earlier.get(name, ())) for name in sessions}
    deadline = time.monotonic() + plan.time_limit_s
    pending = frozenset(sessions)
    before_ms = _median_run(sentinel, RUNS_OF_SENTINEL)
    first = min(map(len, visits.values()), default=plan.max_rounds)
    for done in range(first, plan.max_rounds):
        if done == first or done % ROUNDS_PER_CHECK == 0:
            pending = _unconverged(visits, plan, calm_ms)
        if not pending or time.monotonic() > deadline:
            return
        found = {}
        for name in rng.permutation(list(sessions)).tolist():
            ms = _median_run(sessions[name], runs[name])
            after_ms = _median_run(sentinel, RUNS_OF_SENTINEL)
            found[name] = Visit(ms, max(before_ms, after_ms))
            visits[name].append(found[name])
            before_ms = after_ms
        yield Round(found, pending)


def _warm(session: Session, plan: Plan) -> int:
    """Warm a session up; returns how many runs make a visit."""
    for _ in range(plan.warmup_runs):
        session()
    return max(1, min(MAX_RUNS_PER_VISIT, round(plan.visit_ms / _median_run(session, 3))))


def _median_run(session: Session, runs: int) -> float:
    session()  # whatever ran before has taken the caches; inside a network a block would find its own data there
    return float(np.median([session() for _ in range(runs)]))


def _unconverged(visits: Mapping[str, Sequence[Visit]], plan: Plan, known_ms: float) -> frozenset[str]:
    if not all(visits.values()):
        return frozenset(visits)
    calm_ms = min(known_ms, calm_sentinel_ms(visit for values in visits.values() for visit in values))
    return frozenset(name for name, v in visits.items() if not undisturbed(v, calm_ms).converged(plan))
