"""What `hwnas search` does, between reading options and showing results."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import hwnas
from hwnas import costs
from hwnas.accuracy_files import read_accuracy
from hwnas.arch import Arch
from hwnas.attainable import Range, advice, measured_range
from hwnas.cli.display import ProgressDisplay, say
from hwnas.cli.steps import Job, check_data, evaluator_of, ready_supernet, ready_table
from hwnas.cli.suggesting import specialize_command
from hwnas.cli.values import count, size_bytes
from hwnas.coverage import left_out
from hwnas.pricing import latency_model
from hwnas.search import algorithms
from hwnas.search.accuracy import AccuracyModel, save_accuracy
from hwnas.search.algorithms import Gains
from hwnas.search.budgets import Budget, Refused, in_order, refused
from hwnas.search.constraints import Constraints
from hwnas.search.cover import smallest_cover
from hwnas.search.engine import EVALUATIONS, Found, Score, search
from hwnas.search.limits import Limits
from hwnas.search.log import SearchLog, search_log
from hwnas.search.subnets import best_subnet
from hwnas.search.summary import certificate, front
from hwnas.space import SearchSpace
from hwnas.workflows.project import check_resolutions
from hwnas.workflows.requirements import check_training
from lut.latency_model import LatencyModel
from lut.table import LatencyTable
from profilers import backends
from profilers.errors import DeviceError, InvalidInputError
from profilers.installed import check_installed
from profilers.profiler import Profiler

PROXY = "MACs"  # stands in for an accuracy where none is known


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user wants of architectures, besides the space and the data."""

    budgets: Sequence[Mapping[str, float]]  # in ms by device, one architecture for each
    limits: Limits
    seed: int
    accuracy: Path | None = None  # a predictor's file; the supernet's subnets are judged where there is none
    guess: str | None = None  # how blocks that were not measured are priced, if at all
    available: bool = False  # do without blocks that no table prices
    algorithm: str | None = None  # the usual one
    evaluations: int = EVALUATIONS
    subnets: int | None = None  # that may be evaluated for a budget; as many as the accuracy predictor needs
    max_loss: float | None = None  # cover the budgets with as few architectures as lose no more accuracy than this


def jobs_of(
    job: Job, budgets: Sequence[Mapping[str, float]], runtime: str | None, precision: str | None
) -> dict[str, Job]:
    """The job for every device that a budget names, by its name."""
    names = dict.fromkeys(name for budget in budgets for name in budget)
    return {name: job.on(name, runtime, precision) for name in names}


def limits_of(job: Job, *, macs: str, params: str, memory: str, file_size: str, confidence_pct: float | None) -> Limits:
    """The limits that options spell, of files as the job's device takes them; raises InvalidInputError."""
    return Limits(
        macs=count(macs) if macs else None,
        params=count(params) if params else None,
        memory_bytes=size_bytes(memory) if memory else None,
        file_bytes=size_bytes(file_size) if file_size else None,
        confidence_pct=confidence_pct,
        format=backends.load(job.device.runtime).FORMAT,
        form=job.device.form,
    )


@dataclass(frozen=True)
class Priced:
    """Tables and latency models of all devices asked for, and the constraints of each budget that can be kept."""

    tables: Mapping[str, LatencyTable]
    models: Mapping[str, LatencyModel]
    budgets: Sequence[Budget]
    problems: Sequence[Constraints]  # one for each of the budgets
    refused: Sequence[Refused]

    @classmethod
    def of(cls, jobs: Mapping[str, Job], space: SearchSpace, asked: Asked, *, auto: bool) -> "Priced":
        """Profiles what lacks, where `auto`; raises InfeasibleError if none of the budgets can be kept."""
        needed = () if asked.available else None
        tables, told = _ready_tables(jobs, space, asked, auto=auto)
        models = {name: latency_model(table, space, asked.guess, needed=needed) for name, table in tables.items()}
        for name, model in models.items():
            if model.unavailable:
                choices = ", ".join(left_out(space, model.unavailable)) or "some combinations of choices"
                say(f"{name}: {len(model.unavailable)} blocks have no time there; left out: {choices}")
            if model.guessed:
                say(f"{name}: times of {len(model.guessed)} of {len(space.vocabulary)} blocks were not measured there")
        problems = [asked.limits.constraints(space, models, budget) for budget in asked.budgets]
        if not all(problem.all for problem in problems):
            raise InvalidInputError("nothing limits the search: give --latency, --macs or another limit")
        why_not = refused(asked.budgets, problems)
        for one in why_not:
            if one:
                say(f"hwnas: {one.error}")
        kept = [number for number, one in enumerate(why_not) if not one]
        if not told:
            ranges = {name: Range.of(model.cost) for name, model in models.items()}
            _tell_of_other_spaces([asked.budgets[number] for number in kept], ranges, jobs, space, asked)
        for problem in (problems[number] for number in kept):
            for constraint in problem.all:
                if constraint.loose():
                    most = constraint.told(constraint.cost.greatest())
                    say(f"no architecture has a {constraint.name} above {most}: that limit excludes nothing")
        return cls(
            tables, models, [asked.budgets[number] for number in kept], [problems[number] for number in kept],
            [one for one in why_not if one],
        )  # fmt: skip


def _ready_tables(
    jobs: Mapping[str, Job], space: SearchSpace, asked: Asked, *, auto: bool
) -> tuple[dict[str, LatencyTable], bool]:
    """The jobs' tables by device, profiled first where they are missing and `auto`.

    Also whether it was told before that, by a first look at a device, that another space fits a budget.
    """
    tables, told = dict[str, LatencyTable](), False
    for job in jobs.values():
        if auto and not job.table_path.exists():
            check_installed(job.device)  # for all devices, before the first is measured for minutes

    def look(profiler: Profiler) -> None:
        nonlocal told
        name = profiler.device.name
        if alone := [budget for budget in asked.budgets if set(budget) == {name}]:
            with suppress(DeviceError):  # of which profiling will tell
                told |= _tell_of_other_spaces(alone, {name: measured_range(profiler, space)}, jobs, space, asked)

    for name, job in jobs.items():
        tables[name] = ready_table(job, auto=auto, guess=asked.guess, available=asked.available, look=look)
    return tables, told


def _tell_of_other_spaces(
    budgets: Sequence[Mapping[str, float]],
    latencies_ms: Mapping[str, Range],
    jobs: Mapping[str, Job],
    space: SearchSpace,
    asked: Asked,
) -> bool:
    """Say which spaces fit budgets that are far above this one's largest network; returns whether there were any."""

    def note_on(budget: Mapping[str, float]) -> str:
        def command(other: SearchSpace) -> str:
            return specialize_command(budget, jobs, other, asked.limits, seed=asked.seed, evaluations=asked.subnets)

        return advice(budget, space, latencies_ms, command)

    notes = [note for note in dict.fromkeys(map(note_on, budgets)) if note]
    for note in notes:
        say(note)
    return bool(notes)


def search_all(jobs: Mapping[str, Job], job: Job, asked: Asked, *, auto: bool) -> list[dict[str, Any]]:
    """The best architecture for each budget, or why there is none; `job` is about the space and the data."""
    if asked.algorithm:
        algorithms.load(asked.algorithm)  # whatever is wrong is said before a device is measured for minutes
    model = read_accuracy(asked.accuracy, job.space) if asked.accuracy else None
    of_supernet = model is None and (_supernet_possible(job) or not auto)
    if of_supernet:
        check_training()
    priced = Priced.of(jobs, job.space, asked, auto=auto)
    within = replace(asked, budgets=priced.budgets)
    found = _over_supernet(job, priced, within, auto=auto) if of_supernet else _over_model(job, priced, within, model)
    return in_order(asked.budgets, found, priced.refused)


def _supernet_possible(job: Job) -> bool:
    """Whether there is a supernet of the space, or can be one on the data; what the user named must fit."""
    if job.supernet:
        check_resolutions(job.supernet, job.space)
    try:
        check_data(job)
    except InvalidInputError as error:
        if job.data:
            raise
        say(f"no accuracy is known ({error}): the net with most {PROXY} is looked for; --accuracy takes a predictor")
        return False
    return True


def _over_supernet(job: Job, priced: Priced, asked: Asked, *, auto: bool) -> list[dict[str, Any]]:
    trained = ready_supernet(job, auto=auto)
    if trained.net.space.vocabulary != job.space.vocabulary:
        raise InvalidInputError(f"{trained.path} was trained for other sizes or classes than {job.space.name} has")
    evaluator, results = evaluator_of(job, trained), []
    with ProgressDisplay() as display:
        for budget, problem in zip(asked.budgets, priced.problems, strict=True):
            begun = time.monotonic()
            best = best_subnet(
                job.space, problem, evaluator, seed=asked.seed, algorithm=asked.algorithm, report=display
            )
            facts = _facts(job.space, best.arch, priced.models, budget)
            results.append({
                **facts, "accuracy": best.accuracy, "accuracy_of": "validation images",
                "seconds": time.monotonic() - begun, "evaluations": best.evaluations,
            })  # fmt: skip
    path = job.workspace.accuracy(trained.path, trained.sha256)
    save_accuracy(best.predictor, path)
    say(f"the predictor is kept: --accuracy {path}")
    return results


def _over_model(job: Job, priced: Priced, asked: Asked, model: AccuracyModel | None) -> list[dict[str, Any]]:
    space, limited = job.space, priced.problems
    if model is None:
        macs = costs.macs(space)
        score: Score = macs
        gains: Gains | None = macs.exchanged
        source = PROXY
    else:
        score, gains, source = model, model.gains, model.describe()
    found, seconds = list[Found](), list[float]()
    with _log(job, priced, asked) as log, ProgressDisplay() as display:
        for number, problem in enumerate(limited):
            begun = time.monotonic()
            rng = np.random.default_rng(asked.seed)
            found.append(search(
                space, problem, log.through(score, number, problem.all[0].cost), rng, algorithm=asked.algorithm,
                evaluations=asked.evaluations, gains=gains, start=found, report=display,
            ))  # fmt: skip
            seconds.append(time.monotonic() - begun)
    return [
        {
            **_facts(space, space.arch(row), priced.models, budget),
            "accuracy": None if model is None else float(accuracy), "accuracy_of": source,
            "seconds": spent, "evaluations": one.evaluations, **_more(space, problem, one, asked.algorithm),
        }
        for budget, problem, one, (row, accuracy), spent in zip(
            asked.budgets, limited, found, _chosen(found, limited, asked.max_loss), seconds, strict=True
        )
    ]  # fmt: skip


def _more(space: SearchSpace, problem: Constraints, found: Found, algorithm: str | None) -> dict[str, Any]:
    """What some algorithms are asked for: a front, or a proof."""
    if algorithm == "nsga2":
        cost = problem.all[0].cost
        best = front(found, cost)
        rows = zip(best.population, cost(best.population).tolist(), best.scores.tolist(), strict=True)
        return {"front": [{"arch": str(space.arch(row)), "cost": one, "score": score} for row, one, score in rows]}
    return certificate(space, problem, found) if algorithm == "exact" else {}


def _chosen(
    found: Sequence[Found], problems: Sequence[Constraints], max_loss: float | None
) -> list[tuple[np.ndarray[Any, Any], float]]:
    """For each budget its architecture and accuracy: its own best, or one that serves several budgets."""
    if max_loss is None:
        return [(one.population[0], float(one.scores[0])) for one in found]
    rows, first = np.unique(np.concatenate([one.population for one in found]), axis=0, return_index=True)
    scores = np.concatenate([one.scores for one in found])[first]
    meets = np.array([problem.met(rows) for problem in problems])
    return [(rows[number], float(scores[number])) for number in smallest_cover(scores, meets, max_loss)]


def _log(job: Job, priced: Priced, asked: Asked) -> AbstractContextManager[SearchLog]:
    """The log of this very search: of the same tables, limits, predictor, seed and version."""
    identity = {
        "space": job.space.name,
        "resolutions": list(job.space.resolutions),
        "tables": {name: table.content_hash for name, table in priced.tables.items()},
        "limits": [{c.name: c.limit for c in problem.all} for problem in priced.problems],
        "accuracy": hashlib.sha256(asked.accuracy.read_bytes()).hexdigest() if asked.accuracy else PROXY,
        "algorithm": asked.algorithm,
        "evaluations": asked.evaluations,
        "seed": asked.seed,
        "hwnas": hwnas.__version__,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return search_log(job.workspace.search_log(job.space.name, digest), identity, job.space)


def _facts(
    space: SearchSpace, arch: Arch, models: Mapping[str, LatencyModel], budget_ms: Mapping[str, float]
) -> dict[str, Any]:
    """What is known of an architecture without any accuracy; of several devices the first is on top."""
    row, blocks = space.row(arch)[None], list(space.layers(arch).values())
    devices = [
        {"device": name, "budget_ms": limit_ms, "predicted_ms": float(models[name].latency_ms(row)[0])}
        for name, limit_ms in budget_ms.items()
    ]
    return {
        "arch": str(arch),
        "resolution": space.resolution(arch),
        **(devices[0] if devices else {}),
        "macs": sum(block.macs for block in blocks),
        "params": sum(block.params for block in blocks),
        "peak_activation_bytes": max(block.peak_activation_bytes for block in blocks),
        **({"devices": devices} if len(devices) > 1 else {}),
    }
