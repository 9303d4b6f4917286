"""The commands. Each reads its options, calls the library, and shows what came out; heavy imports come inside."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import hwnas
from hwnas.cli import devices as device_commands
from hwnas.cli import table as table_commands
from hwnas.cli.options import (
    Data,
    DeviceName,
    Json,
    Latencies,
    NoAuto,
    Precision,
    Resolution,
    Runtime,
    Seed,
    SpaceName,
    WorkspaceFolder,
)

app = typer.Typer(
    name="hwnas",
    help="From a device and a latency budget to a deployable model that meets it, proven by measurement.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(device_commands.app, name="devices")
app.add_typer(table_commands.app, name="table")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hwnas {hwnas.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def profile(
    device: Annotated[str, typer.Option("--device", help="A device, or several with commas between.")] = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    runtime: Runtime = None,
    precision: Precision = None,
    quick: Annotated[bool, typer.Option("--quick", help="Stop at intervals of ±3 %.")] = False,
    careful: Annotated[bool, typer.Option("--careful", help="Go on to intervals of ±0.5 %.")] = False,
    cooldown: Annotated[str, typer.Option(help="How long to leave a device alone when heat slows it, like 30s.")] = "",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Measure every block of a space on devices; once, and again only what is still imprecise."""
    from hwnas.cli.display import show_json
    from hwnas.cli.fleet import profile_all
    from hwnas.cli.results import profile_facts, show_profiles
    from hwnas.cli.steps import Job
    from hwnas.cli.values import pause_s, resolutions
    from profilers.errors import HwnasError
    from profilers.measurement import plan_named

    if quick and careful:
        raise typer.BadParameter("--quick and --careful exclude each other")
    sizes, plan = resolutions(resolution), plan_named("quick" if quick else "careful" if careful else "default")
    cooldown_s = pause_s(cooldown) if cooldown else None
    names = list(dict.fromkeys(device.split(",")))
    jobs = [Job.of(workspace, name, runtime, precision, space, sizes, "", cooldown_s) for name in names]
    done = profile_all(jobs, plan)
    failures = [found for found in done if isinstance(found, HwnasError)]
    if len(jobs) == len(failures) == 1:
        raise failures[0]
    facts = [profile_facts(job, found, plan) for job, found in zip(jobs, done, strict=True)]
    if as_json:
        show_json(facts[0] if len(facts) == 1 else facts)
    else:
        show_profiles(facts)
    if failures:
        raise typer.Exit(failures[0].exit_code)  # each was told of above


@app.command()
def train(
    data: Data = "digit-pairs",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    recipe: Annotated[str, typer.Option(help="The training recipe.")] = "sandwich",
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 1000,
    batch: Annotated[int, typer.Option(min=2, help="Images a step.")] = 64,
    lr: Annotated[float, typer.Option(min=1e-9, help="Peak learning rate.")] = 0.3,
    seed: Seed = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Drop what was trained before.")] = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Train a supernet once, for all budgets; killed, the same command goes on."""
    from hwnas.cli.display import show_json, show_table
    from hwnas.cli.steps import Job, evaluator_of, run_training
    from hwnas.cli.values import resolutions
    from hwnas.training.loop import TrainPlan

    plan = TrainPlan(recipe=recipe, steps=steps, batch=batch, lr=lr, seed=seed)
    job = Job.of(workspace, "host", None, None, space, resolutions(resolution), data)
    trained = run_training(job, plan, restart=restart)
    evaluator = evaluator_of(job, trained)
    of_space = trained.net.space
    accuracies = {
        name: evaluator.validation_accuracy(of_space.parse(str(arch)))
        for name, arch in (("smallest", of_space.smallest), ("largest", of_space.largest))
    }
    if as_json:
        show_json({"supernet": str(trained.path), "sha256": trained.sha256, "validation_accuracy": accuracies})
    else:
        rows = [[name, f"{100 * accuracy:.1f} %"] for name, accuracy in accuracies.items()]
        show_table("Supernet", ["subnet", "validation accuracy"], rows)
        print(trained.path)


@app.command()
def search(
    latency: Latencies,
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    data: Data = "digit-pairs",
    runtime: Runtime = None,
    precision: Precision = None,
    seed: Seed = 0,
    no_auto: NoAuto = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Find the most accurate architecture whose predicted latency is within the budget; measure nothing."""
    from hwnas.cli.display import show_json
    from hwnas.cli.results import show_candidates
    from hwnas.cli.specialising import search_all
    from hwnas.cli.steps import Job
    from hwnas.cli.values import latencies_ms, resolutions

    budgets = latencies_ms(latency)
    job = Job.of(workspace, device, runtime, precision, space, resolutions(resolution), data)
    found = search_all(job, budgets, seed=seed, auto=not no_auto)
    if as_json:
        show_json(found[0] if len(found) == 1 else found)
    else:
        show_candidates(found)


@app.command()
def specialize(
    latency: Latencies,
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    data: Data = "digit-pairs",
    runtime: Runtime = None,
    precision: Precision = None,
    seed: Seed = 0,
    no_auto: NoAuto = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Find, export and measure the most accurate net within the budget, and write it as a bundle."""
    from hwnas.cli.display import show_json
    from hwnas.cli.results import show_specialised
    from hwnas.cli.specialising import specialise_all
    from hwnas.cli.steps import Job
    from hwnas.cli.values import latencies_ms, resolutions

    budgets = latencies_ms(latency)
    job = Job.of(workspace, device, runtime, precision, space, resolutions(resolution), data)
    found = specialise_all(job, budgets, seed=seed, auto=not no_auto, command=" ".join(["hwnas", *sys.argv[1:]]))
    if as_json:
        show_json(found[0] if len(found) == 1 else found)
    else:
        show_specialised(found)


@app.command()
def export(
    arch: Annotated[str, typer.Option(help="The architecture, as search prints it.")],
    output: Annotated[
        Path, typer.Option(help="The file to write; its suffix, .onnx or .tflite, is the format.")
    ] = Path("model.onnx"),
    precision: Precision = None,
    space: SpaceName = "digits",
    data: Data = "digit-pairs",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Write one subnet of a trained supernet as ONNX or TFLite, proven equal to the net."""
    from hwnas.cli.display import show_json
    from hwnas.cli.specialising import export_subnet
    from hwnas.cli.steps import Job
    from profilers.device import Device

    form = Device(name="any", precision=precision or "fp32").form
    facts: dict[str, Any] = export_subnet(Job.of(workspace, "host", None, None, space, (), data), arch, output, form)
    if as_json:
        show_json(facts)
    else:
        print(f"{output}: {facts['arch']}, differs from the net by at most {facts['max_difference']:.1e}")


@app.command()
def report(workspace: WorkspaceFolder = Path("hwnas-work"), as_json: Json = False) -> None:
    """Show all bundles of a workspace, and draw the front of accuracy against latency."""
    from hwnas.cli.display import say, show_json
    from hwnas.cli.results import show_specialised
    from hwnas.report import draw_front, read_bundles
    from hwnas.workspace import Workspace

    place = Workspace(workspace)
    bundles = read_bundles(place)
    if as_json:
        show_json(bundles)
    else:
        show_specialised(bundles)
    picture = draw_front(place, bundles)
    say(f"drawn: {picture}")
