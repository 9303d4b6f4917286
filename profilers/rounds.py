"""Shuffled rounds: every model of a batch is visited once a round, in a new order, until its interval is narrow.

Contiguous runs do not buy precision on a busy machine: neighbours come and go over seconds, and a model that
is timed in one stretch is timed in one of their moods. Rounds spread the samples of each model over the
whole time, so all models of a batch see the same mixture.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from profilers.backends import Session
from profilers.measurement import Measurement, Plan

MAX_RUNS_PER_VISIT = 20
RUNS_TO_SIZE_A_VISIT = 3


@dataclass(frozen=True)
class Round:
    """One sample in ms for each model that was visited, and one for the sentinel."""

    sentinel_ms: float
    samples_ms: Mapping[str, float]


def shuffled_rounds(
    sessions: Mapping[str, Session],
    sentinel: Session,
    plan: Plan,
    earlier: Mapping[str, Measurement],
    rng: np.random.Generator,
) -> Iterator[Round]:
    """Yield rounds until every model has converged or a limit of the plan is reached.

    `earlier` holds samples of an interrupted measurement; they count. Models drop out as they converge;
    the sentinel, the same model in every batch, is visited in every round and tells drift from cost.
    """
    ready = {name: _warm(session, plan) for name, session in {**sessions, "": sentinel}.items()}
    samples = {name: list(earlier[name].samples_ms) if name in earlier else [] for name in sessions}
    deadline = time.monotonic() + plan.time_limit_s
    for _ in range(plan.max_rounds):
        pending = [name for name, values in samples.items() if not _done(values, plan)]
        if not pending or time.monotonic() > deadline:
            return
        visits = {name: _visit(*ready[name]) for name in rng.permutation([*pending, ""]).tolist()}
        sentinel_ms = visits.pop("")
        for name, value in visits.items():
            samples[name].append(value)
        yield Round(sentinel_ms, visits)


def _warm(session: Session, plan: Plan) -> tuple[Session, int]:
    for _ in range(plan.warmup_runs):
        session()
    typical_ms = float(np.median([session() for _ in range(RUNS_TO_SIZE_A_VISIT)]))
    return session, max(1, min(MAX_RUNS_PER_VISIT, round(plan.visit_ms / typical_ms)))


def _visit(session: Session, runs: int) -> float:
    session()  # whatever ran before has taken the caches; inside a network a block would find its own data there
    return float(np.median([session() for _ in range(runs)]))


def _done(values: list[float], plan: Plan) -> bool:
    return len(values) >= plan.max_rounds or (bool(values) and Measurement(tuple(values)).converged(plan))
