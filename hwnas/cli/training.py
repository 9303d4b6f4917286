"""`hwnas train`: a supernet trained once, for all budgets, by one process or by those that torchrun started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwnas.cli import names
from hwnas.cli.options import Data, Json, Resolution, Seed, SpaceName, WorkspaceFolder
from hwnas.cli.output import out

if TYPE_CHECKING:
    from hwnas.cli.steps import Job
    from hwnas.training.distributed import Processes


def train(
    data: Data = "digit-pairs",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    recipe: Annotated[str, typer.Option(callback=names.recipe, help="The training recipe.")] = "sandwich",
    steps: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Optimizer steps; 1000 if neither these nor --time.")
    ] = None,
    time: Annotated[str, typer.Option(help="Train as long as this instead, like 10m; the schedule fits itself.")] = "",
    batch: Annotated[int, typer.Option(min=2, max=65_536, help="Images a step, of all processes together.")] = 64,
    accumulate: Annotated[
        int, typer.Option(min=1, max=65_536, help="Parts that a batch is taken in, to save memory.")
    ] = 1,
    optimizer: Annotated[str, typer.Option(callback=names.optimizer, help="sgd or adamw.")] = "sgd",
    lr: Annotated[
        float | None, typer.Option(min=1e-9, help="Peak learning rate; 0.3 with sgd, 0.003 with adamw.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(min=0, help="Of convolutions only; 3e-5 with sgd, 0.05 with adamw.")
    ] = None,
    label_smoothing: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of a label given to all classes.")
    ] = 0.0,
    mixup: Annotated[float, typer.Option(min=0, help="Blend images in pairs, by Beta(X, X); like 0.2.")] = 0.0,
    randaugment: Annotated[bool, typer.Option("--randaugment", help="Change training images at random.")] = False,
    clip_norm: Annotated[float, typer.Option(min=0, help="The largest norm of all gradients; 0 for any.")] = 0.0,
    ema: Annotated[
        float, typer.Option(min=0, max=0.99999, help="Keep the moving average of the weights, like 0.999; 0 for none.")
    ] = 0.0,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the data first, where that is known how.")
    ] = False,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(min=0, max=256, help="Processes that make batches ahead.")] = 0,
    checkpoint_every: Annotated[str, typer.Option(help="How much time a crash may cost, like 5m.")] = "20s",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's files, too.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart/--resume", help="Drop what was trained before, or go on with it.")
    ] = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Train a supernet once, for all budgets; killed, the same command goes on."""
    if steps and time:
        raise typer.BadParameter("--steps and --time exclude each other")
    from hwnas.cli.steps import Job, train_supernet
    from hwnas.cli.values import duration_s, resolutions
    from hwnas.training import datasets
    from hwnas.training.plan import TrainPlan, usual

    every_s, time_s = duration_s(checkpoint_every), duration_s(time) if time else 0.0
    given: dict[str, Any] = {"steps": steps, "lr": lr, "weight_decay": weight_decay}
    settings = usual(optimizer) | {name: value for name, value in given.items() if value is not None}
    plan = TrainPlan(
        recipe=recipe, time_s=time_s, batch=batch, accumulate=accumulate, optimizer=optimizer,
        label_smoothing=label_smoothing, mixup=mixup, randaugment=randaugment, clip_norm=clip_norm,
        ema=ema, seed=seed, **settings,
    )  # fmt: skip
    job = Job.of(workspace, "host", None, None, space, resolutions(resolution), data)
    with processes_of_torchrun() as processes:
        if download and not processes.alone:
            raise typer.BadParameter("--download is for one process: fetch the data before torchrun")
        if download:
            datasets.download(data)
        train_supernet(job, plan, processes, restart=restart, every_s=every_s, tensorboard=tensorboard, workers=workers)
        first = processes.first
    if first:
        _show(job, as_json)


@contextmanager
def processes_of_torchrun() -> Iterator["Processes"]:
    """The processes that torchrun started, or this one alone; of several, only one tells what went wrong."""
    from hwnas.training.distributed import joined

    rank, world, local_rank = (int(os.environ.get(*of)) for of in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    with joined(rank, world, local_rank) as processes:
        try:
            yield processes
        except BaseException as error:
            if processes.speaks():
                raise
            raise typer.Exit(getattr(error, "exit_code", 1)) from error


def _show(job: "Job", as_json: bool) -> None:
    from hwnas.cli.display import show_json, show_table
    from hwnas.cli.steps import evaluator_of, ready_supernet

    trained = ready_supernet(job, auto=False)
    evaluator, space = evaluator_of(job, trained), trained.net.space
    accuracies = {
        name: evaluator.validation_accuracy(space.parse(str(arch)))
        for name, arch in (("smallest", space.smallest), ("largest", space.largest))
    }
    if as_json:
        show_json({"supernet": str(trained.path), "sha256": trained.sha256, "validation_accuracy": accuracies})
    else:
        rows = [[name, f"{100 * accuracy:.1f} %"] for name, accuracy in accuracies.items()]
        show_table("Supernet", ["subnet", "validation accuracy"], rows)
        out(str(trained.path))
