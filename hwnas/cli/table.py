"""`hwnas table`: look into latency tables, check them, compare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwnas.cli.options import DeviceName, Json, Precision, Resolution, Runtime, SpaceName, WorkspaceFolder

if TYPE_CHECKING:
    from lut.table import LatencyTable

app = typer.Typer(help="Look into latency tables, check them, compare them.", no_args_is_help=True)

TableFile = Annotated[Path, typer.Argument(help="A table file, as `hwnas profile` names it.")]


@app.command()
def show(
    device: DeviceName = "host",
    runtime: Runtime = None,
    precision: Precision = None,
    png: Annotated[Path | None, typer.Option("--png", help="Also draw the heat map into this file.")] = None,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Show a device's table: every entry with its interval, a heat map, and how good its predictions were."""
    from hwnas.cli.display import show_heat_map, show_json, show_table
    from hwnas.heatmap import draw_heat_maps, heat_map

    table = _table(workspace, device, runtime, precision)
    entries = sorted(table.measured(), key=lambda entry: entry[0])
    heat = heat_map(table)
    if as_json:
        show_json([
            {"name": name, "latency_ms": m.latency_ms, "interval_ms": m.interval_ms, "calm_visits": len(m.samples_ms)}
            for name, m in entries
        ])  # fmt: skip
    else:
        show_table("Latency table", ["entry", "latency", "95 % interval", "calm visits"], [
            [name, f"{m.latency_ms:.4g} ms", f"±{m.half_width_pct:.1f} %", str(len(m.samples_ms))]
            for name, m in entries
        ])  # fmt: skip
        show_heat_map("What blocks cost, in ms; the redder, the more for each MAC", heat)
        for nets, found in table.calibrations.items():
            print(
                f"{nets.removeprefix('net ')} {found['count']:.0f} whole nets, each left out of the fit in turn: "
                f"mean error {found['mean_error_pct']:.1f} %, largest {found['max_error_pct']:.1f} %"
            )
        if table.states:
            print("the device when it was last measured:", ", ".join(f"{k} {v}" for k, v in table.states[-1].items()))
        print(table.path)
    if png:
        draw_heat_maps({table.path.stem: heat}, png)


@app.command()
def price(
    archs: Annotated[list[str], typer.Argument(help="Architectures, as search prints them.")],
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    runtime: Runtime = None,
    precision: Precision = None,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Also at image sizes between measured ones, and say so.")
    ] = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Predict what architectures take on a device, from its table alone."""
    from hwnas.cli.display import show_json, show_table
    from hwnas.cli.values import in_ms, resolutions
    from hwnas.pricing import latency_model
    from hwnas.spaces import open_space

    wanted = open_space(space, resolutions=resolutions(resolution))
    model = latency_model(_table(workspace, device, runtime, precision), wanted, interpolate=interpolate)
    rows = []
    for arch in map(wanted.parse, archs):
        blocks = list(wanted.layers(arch).values())
        guessed = sum(block in model.interpolated for block in blocks)
        rows.append((str(arch), float(model(wanted.row(arch)[None])[0]), len(blocks), guessed))
    error_pct = model.calibration.spread_pct
    if as_json:
        show_json([
            {"arch": arch, "predicted_ms": ms, "error_pct": error_pct, "blocks": count, "interpolated_blocks": guessed}
            for arch, ms, count, guessed in rows
        ])  # fmt: skip
    else:
        shown = [[arch, in_ms(ms), f"{error_pct:.1f} %", f"{guessed} of {count}"] for arch, ms, count, guessed in rows]
        show_table("Predicted latency", ["architecture", "predicted", "typical error", "interpolated blocks"], shown)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Published table files, one a resolution.")],
    device: Annotated[str, typer.Option("--device", help="The name that the device is to have here.")],
    format: Annotated[str, typer.Option("--format", help="What the files are: ofa.")] = "ofa",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Read a table that others have published."""
    from hwnas.cli.display import show_json
    from hwnas.workspace import Workspace
    from lut.importers import read_published
    from lut.table import LatencyTable, published_fingerprint
    from profilers.device import Device
    from profilers.errors import InvalidInputError

    path = Workspace(workspace).imported(Device(name=device).name)
    if path.exists():
        raise InvalidInputError(f"{path} is there already: choose another --device, or move it away")
    found = [(entry, file) for file in files for entry in read_published(format, [file])]
    table = LatencyTable.open(path, device, published_fingerprint(device))
    for entry, file in found:
        table.add_published(entry, file.name)
    if as_json:
        show_json({"table": str(path), "blocks": len(dict(table.measured()))})
    else:
        print(f"{path}: {len(dict(table.measured()))} blocks")


@app.command()
def check(
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    runtime: Runtime = None,
    precision: Precision = None,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Say whether a table prices a space: what lacks, what is imprecise, how far off left-out nets were."""
    from hwnas.cli.display import show_json
    from hwnas.cli.values import resolutions
    from hwnas.pricing import latency_model
    from hwnas.spaces import open_space
    from profilers.measurement import PLANS

    table = _table(workspace, device, runtime, precision)
    wanted = open_space(space, resolutions=resolutions(resolution))
    missing = [block.key for block in table.missing(wanted.vocabulary)]
    present = [block.key for block in wanted.vocabulary if block.key not in missing]
    facts = {"missing": missing, "unconverged": table.pending(present, PLANS["default"])}
    if not as_json:
        print(f"{table.path}: {len(present)} of {len(wanted.vocabulary)} blocks of {wanted.name} are measured")
        for what, keys in facts.items():
            print(f"{what}: {len(keys)}")
            print("".join(f"  {key}\n" for key in keys), end="")
    else:
        show_json(facts)
    errors = latency_model(table, wanted).calibration  # which refuses a table that lacks blocks
    if not as_json:
        print(f"left-out nets: mean error {errors.mean_error_pct:.1f} %, largest {errors.max_error_pct:.1f} %")


@app.command()
def diff(
    first: TableFile,
    second: TableFile,
    as_json: Json = False,
    most: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 10,
) -> None:
    """Show where two tables disagree most: blocks that are dear on one device and cheap on the other."""
    from hwnas.cli.display import show_json, show_table
    from lut.table import LatencyTable, relative_costs

    rows = relative_costs(LatencyTable.read(first), LatencyTable.read(second))[:most]
    if as_json:
        show_json([{"name": name, "first_ms": a, "second_ms": b, "ratio": ratio} for name, a, b, ratio in rows])
        return
    shown = [[name, f"{a:.4g} ms", f"{b:.4g} ms", f"x {ratio:.2f}"] for name, a, b, ratio in rows]
    show_table(
        "second against first, relative to the typical block", ["entry", first.stem, second.stem, "ratio"], shown
    )


def _table(workspace: Path, device: str, runtime: str | None, precision: str | None) -> "LatencyTable":
    """The table of a device, measured here or imported."""
    from hwnas.workspace import Workspace
    from lut.table import LatencyTable
    from profilers.configuration import find_device
    from profilers.errors import InvalidInputError

    place = Workspace(workspace)
    if (published := place.imported(device)).exists():
        return LatencyTable.read(published)
    path = place.table(find_device(device, workspace, runtime, precision))
    if not path.exists():
        raise InvalidInputError(f"{path} is not there: {device} was not profiled yet, see hwnas profile --help")
    return LatencyTable.read(path)
