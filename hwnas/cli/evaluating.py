"""`hwnas evaluate`: how accurate subnets are; one, or many at random for an accuracy predictor to learn from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwnas.cli import names
from hwnas.cli.options import Data, Json, Resolution, Seed, SpaceName, WorkspaceFolder
from hwnas.cli.output import out

if TYPE_CHECKING:
    from hwnas.arch import Arch
    from hwnas.cli.steps import Job
    from hwnas.space import SearchSpace
    from hwnas.training.distributed import Processes
    from hwnas.training.evaluate import SubnetEvaluator, Tally
    from hwnas.training.weights import TrainedSupernet

DRAWN_AT_ONCE = 256
FRUITLESS_DRAWS = 20  # without any new architecture: there are hardly more


def evaluate(
    arch: Annotated[str, typer.Option(callback=names.arch, help="The architecture, as search prints it.")] = "",
    random: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Evaluate so many random architectures instead.")
    ] = 0,
    split: Annotated[str, typer.Option(help="Judge by validation or test images.")] = "validation",
    images: Annotated[
        int | None,
        typer.Option(min=1, help="How many images to judge by; 1500, or 5000 of test, if none is given; at most all."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, max=256, help="Processes that evaluate random architectures.")] = 0,
    data: Data = "",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    seed: Seed = 0,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Find how accurate subnets of a supernet are. Killed, the same command goes on; torchrun starts several."""
    if bool(arch) == bool(random):
        raise typer.BadParameter("give either --arch or --random")
    if split not in ("validation", "test"):
        raise typer.BadParameter(f"--split is validation or test, not {split}")
    if random and split == "test":
        raise typer.BadParameter("--random is for search to learn from, and test images decide nothing")
    from hwnas.cli.display import show_json
    from hwnas.cli.steps import Job, check_data
    from hwnas.cli.values import resolutions

    job = Job.resolved(workspace, "host", None, None, space, resolutions(resolution), data)
    check_data(job)
    if arch:
        facts = evaluate_one(job, arch, split, images)
        show_json(facts) if as_json else _show_one(facts)
        return
    many = evaluate_random(job, random, seed, images, workers)
    if many:
        show_json(many) if as_json else _show_many(many)


def evaluate_one(job: "Job", arch: str, split: str, images: int | None) -> dict[str, Any]:
    """How accurate one subnet is, as facts to show."""
    from hwnas.cli.steps import ready_supernet

    trained = ready_supernet(job, auto=False)
    evaluator = _evaluator(job, trained, images)
    found = trained.net.space.parse(arch)
    result = evaluator.test(found) if split == "test" else evaluator.validation(found)
    return {"arch": str(found), "supernet": str(trained.path), "split": split, **_facts(result, trained.net.space)}


def evaluate_random(job: "Job", count: int, seed: int, images: int | None, workers: int) -> dict[str, Any]:
    """Evaluate random subnets that are not in the log yet, this process' share of them; facts in the first one.

    The architectures are the first `count` of those that `seed` draws: more of them go on where fewer ended.
    """
    from hwnas.cli.steps import ready_supernet
    from hwnas.cli.training import processes_of_torchrun
    from profilers.errors import InvalidInputError

    with processes_of_torchrun() as processes:
        if workers and processes.device.type != "cpu":
            raise InvalidInputError("one process evaluates on each GPU: leave out --workers, or use torchrun")
        trained = ready_supernet(job, auto=False)
        if processes.first:
            _evaluator(job, trained, images)  # begins the log, which the others then find
        processes.agreed(0)
        evaluator = _evaluator(job, trained, images, processes)
        archs = drawn(trained.net.space, count, seed)
        before = sum(arch in evaluator.known for arch in archs)
        _judge(evaluator, archs[processes.rank :: processes.world], workers, quiet=not processes.first)
        processes.agreed(0)  # all are done
        if not processes.first:
            return {}
        found = _evaluator(job, trained, images).tallies
    accuracies = sorted(found[arch].accuracy for arch in archs)
    return {
        "supernet": str(trained.path),
        "log": str(job.workspace.evaluations(trained.path, trained.sha256)),
        "subnets": len(archs),
        "evaluated_before": before,
        "images": found[archs[0]].images,
        "accuracy": {"least": accuracies[0], "median": accuracies[len(archs) // 2], "most": accuracies[-1]},
        "best": str(max(archs, key=lambda arch: found[arch].accuracy)),
    }


def drawn(space: "SearchSpace", count: int, seed: int) -> list["Arch"]:
    """The first `count` different architectures that `seed` draws; fewer if the space hardly has more."""
    import numpy as np

    rng, found, fruitless = np.random.default_rng(seed), dict[Any, None](), 0
    while len(found) < count and fruitless < FRUITLESS_DRAWS:
        before = len(found)
        found |= dict.fromkeys(space.arch(row) for row in space.sample(DRAWN_AT_ONCE, rng))
        fruitless = fruitless + 1 if len(found) == before else 0
    return list(found)[:count]


def _judge(evaluator: "SubnetEvaluator", archs: list["Arch"], workers: int, *, quiet: bool) -> None:
    from hwnas.cli.display import ProgressDisplay

    new = sum(arch not in evaluator.known for arch in archs)
    with ProgressDisplay() as display:
        for done, (_, found) in enumerate(evaluator.judge(archs, workers), 1):
            if not quiet:
                display("evaluate", done / new, f"{done} of {new}: {100 * found.accuracy:.1f} %")


def _evaluator(
    job: "Job", trained: "TrainedSupernet", images: int | None, processes: "Processes | None" = None
) -> "SubnetEvaluator":
    from hwnas.training.distributed import ALONE
    from hwnas.training.evaluate import SubnetEvaluator

    log = job.workspace.evaluations(trained.path, trained.sha256)
    return SubnetEvaluator(trained, trained.dataset(job.data), log, images, (processes or ALONE).device)


def _facts(found: "Tally", space: "SearchSpace") -> dict[str, Any]:
    from hwnas.training.evaluate import wilson

    facts = {"images": found.images, "accuracy": found.accuracy, "interval": wilson(found.top1, found.images)}
    if space.classes > 5:
        facts |= {"top5_accuracy": found.top5_accuracy, "top5_interval": wilson(found.top5, found.images)}
    return facts


def _show_one(facts: dict[str, Any]) -> None:
    from hwnas.cli.display import show_table

    rows = [[f"top-1 on {facts['images']} {facts['split']} images", *_percents(facts["accuracy"], facts["interval"])]]
    if "top5_accuracy" in facts:
        rows.append(["top-5", *_percents(facts["top5_accuracy"], facts["top5_interval"])])
    show_table(facts["arch"], ["", "accuracy", "95 % interval"], rows)


def _percents(share: float, interval: tuple[float, float]) -> tuple[str, str]:
    return f"{100 * share:.1f} %", f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f} %"


def _show_many(facts: dict[str, Any]) -> None:
    from hwnas.cli.display import show_table

    row = [str(facts["subnets"]), str(facts["evaluated_before"])]
    row += [f"{100 * facts['accuracy'][of]:.1f} %" for of in ("least", "median", "most")]
    show_table("Random subnets", ["subnets", "known before", "least", "median", "most accurate"], [row])
    out(f"best: {facts['best']}")
    out(facts["log"])
