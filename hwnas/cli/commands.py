"""The commands. Each reads its options, calls the library, and shows what came out; heavy imports come inside."""

from pathlib import Path
from typing import Annotated, Any

import typer

import hwnas
from hwnas.cli import data as data_commands
from hwnas.cli import devices as device_commands
from hwnas.cli import evaluating, finding, measuring, names, training
from hwnas.cli import spaces as space_commands
from hwnas.cli import supernet as supernet_commands
from hwnas.cli import table as table_commands
from hwnas.cli.options import (
    Data,
    Json,
    Precision,
    Resolution,
    Runtime,
    SpaceName,
    WorkspaceFolder,
)
from hwnas.cli.output import out

app = typer.Typer(
    name="hwnas",
    help="From a device and a latency budget to a deployable model that meets it, proven by measurement.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(device_commands.app, name="devices")
app.add_typer(supernet_commands.app, name="supernet")
app.add_typer(table_commands.app, name="table")
app.add_typer(space_commands.app, name="space")
app.add_typer(data_commands.app, name="data")
app.command()(training.train)
app.command()(evaluating.evaluate)
app.command()(finding.search)
app.command()(finding.specialize)
app.command()(measuring.measure)


def _version(wanted: bool) -> None:
    if wanted:
        out(f"hwnas {hwnas.__version__}")
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
    data: Data = "",
    runtime: Runtime = None,
    precision: Precision = None,
    quick: Annotated[bool, typer.Option("--quick", help="Stop at intervals of ±3 %.")] = False,
    careful: Annotated[bool, typer.Option("--careful", help="Go on to intervals of ±0.5 %.")] = False,
    cooldown: Annotated[str, typer.Option(help="How long to leave a device alone when heat slows it, like 30s.")] = "",
    like: Annotated[
        str, typer.Option(help="Devices with a table, or table files: measure a few nets, learn the rest from them.")
    ] = "",
    samples: Annotated[int, typer.Option(min=3, max=1000, help="Whole nets to measure where --like is given.")] = 10,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Measure every block of a space on devices; once, and again only what is still imprecise."""
    if quick and careful:
        raise typer.BadParameter("--quick and --careful exclude each other")
    from hwnas.cli.display import show_json
    from hwnas.cli.fleet import profile_all
    from hwnas.cli.liking import profile_like_others, show_liking
    from hwnas.cli.results import profile_facts, show_profiles
    from hwnas.cli.steps import Job
    from hwnas.cli.values import pause_s, resolutions
    from profilers.errors import HwnasError
    from profilers.measurement import plan_named

    sizes, plan = resolutions(resolution), plan_named("quick" if quick else "careful" if careful else "default")
    cooldown_s = pause_s(cooldown) if cooldown else None
    names = list(dict.fromkeys(device.split(",")))
    jobs = [Job.resolved(workspace, name, runtime, precision, space, sizes, data, cooldown_s) for name in names]
    if like:
        if len(jobs) > 1:
            raise typer.BadParameter("--like is for one device at a time")
        made = profile_like_others(jobs[0], like, samples, plan if careful else plan_named("quick"))
        show_json([made]) if as_json else show_liking(made)
        return
    done = profile_all(jobs, plan)
    failures = [found for found in done if isinstance(found, HwnasError)]
    if len(jobs) == len(failures) == 1:
        raise failures[0]
    facts = [profile_facts(job, found, plan) for job, found in zip(jobs, done, strict=True)]
    if as_json:
        show_json(facts)
    else:
        show_profiles(facts)
    if failures:
        raise typer.Exit(failures[0].exit_code)  # each was told of above


@app.command()
def export(
    arch: Annotated[str, typer.Option(callback=names.arch, help="The architecture, as search prints it.")],
    output: Annotated[
        Path, typer.Option(help="The file to write; its suffix, .onnx or .tflite, is the format.")
    ] = Path("model.onnx"),
    precision: Precision = None,
    space: SpaceName = "digits",
    data: Data = "",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Write one subnet of a trained or imported supernet as ONNX or TFLite, proven equal to the net."""
    from hwnas.cli.display import show_json
    from hwnas.cli.specialising import export_subnet
    from hwnas.cli.steps import Job
    from profilers.device import Device

    form = Device(name="any", precision=precision or "fp32").form
    facts: dict[str, Any] = export_subnet(
        Job.resolved(workspace, "host", None, None, space, (), data), arch, output, form
    )
    if as_json:
        show_json(facts)
    else:
        out(f"{output}: {facts['arch']}, differs from the net by at most {facts['max_difference']:.1e}")


@app.command()
def report(workspace: WorkspaceFolder = Path("hwnas-work"), as_json: Json = False) -> None:
    """Show all bundles of a workspace; draw the front of accuracy against latency, and what searches scored."""
    from hwnas.cli.display import say, show_json
    from hwnas.cli.results import show_specialised
    from hwnas.export.bundle import read_bundles
    from hwnas.report import draw_front, draw_searches
    from hwnas.workspace import Workspace
    from profilers.errors import InvalidInputError

    place = Workspace(workspace)
    picture, damaged_searches = draw_searches(place)
    bundles, damaged_bundles = read_bundles(place.bundles)
    damaged = damaged_searches + damaged_bundles
    if not (bundles or picture):
        nothing = f"{place.bundles} holds no bundle yet; make one with: hwnas specialize --latency …"
        raise InvalidInputError("; ".join(damaged) or nothing)
    facts = [{**bundle.record.facts(), "bundle": str(bundle.folder)} for bundle in bundles]
    if as_json:
        show_json(facts)
    elif facts:
        show_specialised(facts)
    for line in damaged:
        say(f"left out or changed: {line}")
    for drawn in (picture, draw_front(place, [bundle.record for bundle in bundles]) if bundles else None):
        if drawn:
            say(f"drawn: {drawn}")
    if damaged:
        raise typer.Exit(InvalidInputError.exit_code)  # each was told of above
