"""`hwnas search` and `hwnas specialize`: their options, which are much the same."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hwnas.cli import names
from hwnas.cli.options import (
    AnyLatencies,
    Available,
    Confidence,
    Data,
    DeviceName,
    Guess,
    Json,
    Latencies,
    MostFile,
    MostMacs,
    MostMemory,
    MostParams,
    NoAuto,
    Precision,
    Resolution,
    Runtime,
    Seed,
    SpaceName,
    WorkspaceFolder,
)


def search(
    latency: AnyLatencies = None,
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    data: Data = "",
    runtime: Runtime = None,
    precision: Precision = None,
    macs: MostMacs = "",
    params: MostParams = "",
    memory: MostMemory = "",
    file_size: MostFile = "",
    confidence: Confidence = None,
    accuracy: Annotated[
        Path | None,
        typer.Option(
            callback=names.file, help="The file of an accuracy predictor; without, the supernet's subnets are judged."
        ),
    ] = None,
    guess: Guess = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            callback=names.algorithm,
            help="The search algorithm; annealing if the accuracy model has slopes, else evolution.",
        ),
    ] = None,
    evaluations: Annotated[
        int, typer.Option(min=1, max=10**7, help="Architectures to score for each budget.")
    ] = 10_000,
    max_loss: Annotated[
        float | None,
        typer.Option(min=0, help="As few nets for all budgets as lose at most so many percent points of accuracy."),
    ] = None,
    available: Available = False,
    seed: Seed = 0,
    no_auto: NoAuto = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Find the most accurate architecture within all limits; measure nothing."""
    from hwnas.cli.display import show_json
    from hwnas.cli.results import show_candidates
    from hwnas.cli.searching import Asked, jobs_of, limits_of, search_all
    from hwnas.cli.steps import Job
    from hwnas.cli.values import budgets, resolutions

    wanted = budgets(latency, device) if latency is not None else [{}]
    sizes = resolutions(resolution)
    job = Job.resolved(workspace, device, runtime, precision, space, sizes, data)
    jobs = jobs_of(job, wanted, runtime, precision)
    asked = Asked(
        budgets=wanted,
        limits=limits_of(job, macs=macs, params=params, memory=memory, file_size=file_size, confidence_pct=confidence),
        accuracy=accuracy,
        guess=guess,
        algorithm=algorithm,
        evaluations=evaluations,
        max_loss=None if max_loss is None else max_loss / 100,
        available=available,
        seed=seed,
    )
    found = search_all(jobs, job, asked, auto=not no_auto)
    if as_json:
        show_json(found)
    else:
        show_candidates(found)
    _end(found)


def specialize(
    latency: Latencies,
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    data: Data = "",
    runtime: Runtime = None,
    precision: Precision = None,
    macs: MostMacs = "",
    params: MostParams = "",
    memory: MostMemory = "",
    file_size: MostFile = "",
    confidence: Confidence = None,
    available: Available = False,
    evaluations: Annotated[
        int | None,
        typer.Option(min=32, help="Subnets to evaluate for a budget at most; as many as the predictor needs if none."),
    ] = None,
    seed: Seed = 0,
    no_auto: NoAuto = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Find, export and measure the most accurate net within the budget, and write it as a bundle."""
    from hwnas.cli.display import show_json
    from hwnas.cli.results import show_specialised
    from hwnas.cli.searching import Asked, jobs_of, limits_of
    from hwnas.cli.steps import Job
    from hwnas.cli.values import budgets, resolutions

    wanted, sizes = budgets(latency, device), resolutions(resolution)
    job = Job.resolved(workspace, next(iter(wanted[0])), runtime, precision, space, sizes, data)
    asked = Asked(
        budgets=wanted,
        limits=limits_of(job, macs=macs, params=params, memory=memory, file_size=file_size, confidence_pct=confidence),
        available=available,
        subnets=evaluations,
        seed=seed,
    )
    jobs = jobs_of(job, wanted, runtime, precision)
    command = " ".join(["hwnas", *sys.argv[1:]])
    from hwnas.cli.specialising import specialise_all  # with torch, for which no typo waits

    found = specialise_all(jobs, asked, auto=not no_auto, command=command)
    if as_json:
        show_json(found)
    else:
        show_specialised(found)
    _end(found)


def _end(found: Sequence[dict[str, Any]]) -> None:
    """End as the first budget that was refused does; each was told of when it was."""
    for facts in found:
        if "error" in facts:
            raise typer.Exit(facts["exit_code"])
