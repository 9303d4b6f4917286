"""`hwnas table`: look into latency tables, check them, compare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwnas.cli.options import DeviceName, Json, Resolution, Runtime, SpaceName, WorkspaceFolder

if TYPE_CHECKING:
    from lut.table import LatencyTable

app = typer.Typer(help="Look into latency tables, check them, compare them.", no_args_is_help=True)

TableFile = Annotated[Path, typer.Argument(help="A table file, as `hwnas profile` names it.")]


@app.command()
def show(
    device: DeviceName = "host",
    runtime: Runtime = None,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Show a device's table: every entry with its interval."""
    from hwnas.cli.display import show_json, show_table

    table = _table(workspace, device, runtime)
    entries = sorted(table.measured(), key=lambda entry: entry[0])
    if as_json:
        show_json([
            {"name": name, "median_ms": m.median_ms, "interval_ms": m.interval_ms, "calm_visits": len(m.samples_ms)}
            for name, m in entries
        ])  # fmt: skip
        return
    rows = [
        [name, f"{m.median_ms:.4g} ms", f"±{m.half_width_pct:.1f} %", str(len(m.samples_ms))] for name, m in entries
    ]
    show_table("Latency table", ["entry", "median", "95 % interval", "calm visits"], rows)
    print(table.path)


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
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Say whether a table prices a space: what lacks, what is imprecise, how far off left-out nets were."""
    from hwnas.cli.display import show_json
    from hwnas.cli.values import resolutions
    from hwnas.pricing import latency_model
    from hwnas.spaces import open_space
    from profilers.measurement import PLANS

    table = _table(workspace, device, runtime)
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


def _table(workspace: Path, device: str, runtime: str | None) -> "LatencyTable":
    """The table of a device, measured here or imported."""
    from hwnas.workspace import Workspace
    from lut.table import LatencyTable
    from profilers.device import find_device
    from profilers.errors import InvalidInputError

    place = Workspace(workspace)
    if (published := place.imported(device)).exists():
        return LatencyTable.read(published)
    path = place.table(find_device(device, workspace, runtime))
    if not path.exists():
        raise InvalidInputError(f"{path} is not there: {device} was not profiled yet, see hwnas profile --help")
    return LatencyTable.read(path)
