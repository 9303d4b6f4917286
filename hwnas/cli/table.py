"""`hwnas table`: look into latency tables, check them, compare them, take them from others and give them to others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwnas.cli.options import Data, DeviceName, Guess, Json, Precision, Resolution, Runtime, SpaceName, WorkspaceFolder
from hwnas.cli.output import out

if TYPE_CHECKING:
    from hwnas.arch import Arch, Population
    from hwnas.space import SearchSpace
    from lut.latency_model import LatencyModel
    from lut.table import LatencyTable
    from profilers.device import Fingerprint
    from profilers.measurement import Measurement

app = typer.Typer(help="Look into latency tables, check them, compare them.", no_args_is_help=True)

ONE_DEVIATION_PCT = 68.27  # of a normal distribution lies within one standard deviation
NOT_KNOWN = "not known"  # where one figure was published and nothing else

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
    from hwnas.attainable import latency_ranges
    from hwnas.cli.display import show_heat_map, show_json, show_table
    from hwnas.cli.values import in_ms
    from hwnas.heatmap import draw_heat_maps, heat_map

    table = _table(workspace, device, runtime, precision)
    entries = sorted(table.measured(), key=lambda entry: entry[0])
    heat = heat_map(table)
    if as_json:
        show_json([
            {
                "name": name, "latency_ms": m.latency_ms, "interval_ms": m.interval_ms if _repeated(m) else None,
                "calm_visits": 0 if table.published(name) else m.calm_visits,
            }
            for name, m in entries
        ])  # fmt: skip
    else:
        show_table("Latency table", ["entry", "latency", "95 % interval", "calm visits"], [
            [
                name, f"{m.latency_ms:.4g} ms", f"±{m.half_width_pct:.1f} %" if _repeated(m) else NOT_KNOWN,
                f"{entry.runs} published runs" if (entry := table.published(name)) else str(m.calm_visits),
            ]
            for name, m in entries
        ])  # fmt: skip
        show_heat_map("What blocks cost, in ms; the redder, the more for each MAC", heat)
        for nets, found in table.calibrations.items():
            out(
                f"{nets.removeprefix('net ')} {found['count']:.0f} whole nets, each left out of the fit in turn: "
                f"mean error {found['mean_error_pct']:.1f} %, largest {found['max_error_pct']:.1f} %"
            )
        for space, found_ms in latency_ranges(table).items():
            out(
                f"{space.name} at {'/'.join(map(str, space.resolutions))}: attainable from "
                f"{in_ms(found_ms.least)} to {in_ms(found_ms.greatest)}"
            )
        if table.states:
            out(f"the device when it was last measured: {', '.join(f'{k} {v}' for k, v in table.states[-1].items())}")
        if table.sources:
            out(f"published in: {', '.join(table.sources)}")
        out(f"{table.path}, SHA-256 {table.content_hash}")
    if png:
        draw_heat_maps({table.path.stem: heat}, png)


@app.command()
def price(
    archs: Annotated[
        list[str], typer.Argument(help="Architectures, as search prints them, or net.config files of once-for-all.")
    ],
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    data: Data = "",
    runtime: Runtime = None,
    precision: Precision = None,
    guess: Guess = None,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Predict what architectures take on a device, from its table alone."""
    from hwnas.cli.display import show_json, show_table
    from hwnas.cli.values import in_ms
    from hwnas.pricing import latency_model

    wanted = _space(workspace, device, space, resolution, data)
    spelled = [_arch(text, wanted) for text in archs]
    needed = dict.fromkeys(block for arch in spelled for block in wanted.layers(arch).values())
    table = _table(workspace, device, runtime, precision)
    model = latency_model(table, wanted, guess, needed=needed, data=data)
    rows = []
    for arch in spelled:
        blocks = list(wanted.layers(arch).values())
        guessed = sum(block in model.guessed for block in blocks)
        row = wanted.row(arch)[None]
        rows.append((str(arch), float(model.latency_ms(row)[0]), _error_pct(model, row), len(blocks), guessed))
    if as_json:
        show_json([
            {"arch": arch, "predicted_ms": ms, "error_pct": error, "blocks": count, "guessed_blocks": guessed}
            for arch, ms, error, count, guessed in rows
        ])  # fmt: skip
    else:
        shown = [
            [arch, in_ms(ms), NOT_KNOWN if error is None else f"{error:.1f} %", f"{guessed} of {count}"]
            for arch, ms, error, count, guessed in rows
        ]
        show_table("Predicted latency", ["architecture", "predicted", "typical error", "guessed blocks"], shown)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Published table files, e.g. one a resolution.")],
    device: Annotated[str, typer.Option("--device", help="The name that the device is to have here.")],
    format: Annotated[str, typer.Option("--format", help="What the files are: ofa or proxyless.")] = "ofa",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Read tables that others have published into one; files that are in it already change nothing."""
    from hwnas.cli.display import show_json
    from hwnas.matching import space_of_table
    from hwnas.workspace import Workspace
    from lut.importers import read_published
    from lut.published import published_fingerprint
    from lut.table import LatencyTable
    from profilers.device import Device

    path = Workspace(workspace).imported(Device(name=device).name)
    entries = [(file.name, entry) for file in files for entry in read_published(format, [file])]
    with LatencyTable.open(path, device, published_fingerprint(device)).writing() as table:
        table.add_published(entries)
    blocks = list(table.blocks())
    space = space_of_table(blocks)
    if as_json:
        show_json({"table": str(path), "blocks": len(blocks), "sources": table.sources, "space": space or None})
    else:
        of = f", of the space {space}" if space else ""
        out(f"{path}: {len(blocks)} blocks{of}, from {', '.join(table.sources)}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The YAML file to write; one that is there is replaced.")],
    device: DeviceName = "host",
    space: SpaceName = "ofa-mbv3",
    resolution: Resolution = "",
    data: Data = "",
    runtime: Runtime = None,
    precision: Precision = None,
    workspace: WorkspaceFolder = Path("hwnas-work"),
) -> None:
    """Write a device's table, as far as a space needs it, as a lookup table of once-for-all's, for other tools."""
    from hwnas.pricing import check_complete
    from lut.exporters import ofa_yaml
    from lut.storage import write_atomically
    from profilers.errors import InvalidInputError

    wanted = _space(workspace, device, space, resolution, data)
    if len(wanted.resolutions) > 1:
        raise InvalidInputError(f"such a file is of one resolution, not of {resolution}: export them one by one")
    table = _table(workspace, device, runtime, precision)
    check_complete(table, wanted, data)
    content = ofa_yaml(table, wanted.vocabulary)
    write_atomically(file, content.encode())
    out(f"{file}: {len(wanted.vocabulary)} blocks")


@app.command()
def check(
    device: DeviceName = "host",
    space: SpaceName = "digits",
    resolution: Resolution = "",
    data: Data = "",
    runtime: Runtime = None,
    precision: Precision = None,
    max_age: Annotated[
        float | None, typer.Option("--max-age", min=0, help="Entries older than so many days are stale.")
    ] = None,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Say whether a table prices a space, and what speaks against its entries."""
    from hwnas.cli.checking import Findings
    from hwnas.cli.display import show_json
    from hwnas.pricing import latency_model

    table = _table(workspace, device, runtime, precision)
    wanted = _space(workspace, device, space, resolution, data)
    found = Findings.of(table, wanted.vocabulary, max_age, _here(workspace, device, runtime, precision))
    if as_json:
        show_json(found.as_json)
    else:
        count = len(wanted.vocabulary)
        measured = count - len(found.missing) - len(found.transferred)
        out(f"{table.path}: {measured} of {count} blocks of {wanted.name} are measured")
        for line in found.lines:
            out(line)
    errors = latency_model(table, wanted, data=data).calibration  # which refuses a table that lacks blocks
    if not as_json:
        known = f"mean error {errors.mean_error_pct:.1f} %, largest {errors.max_error_pct:.1f} %"
        out(f"left-out nets: {known if errors.known else f'error {NOT_KNOWN}'}")
    found.refuse()


@app.command()
def diff(
    first: TableFile,
    second: TableFile,
    as_json: Json = False,
    most: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 10,
) -> None:
    """Show where two tables disagree most: blocks that are dear on one device and cheap on the other."""
    from hwnas.cli.display import show_json, show_table
    from lut.comparison import relative_costs
    from lut.table import LatencyTable

    rows = relative_costs(LatencyTable.read(first), LatencyTable.read(second))[:most]
    if as_json:
        show_json([{"name": name, "first_ms": a, "second_ms": b, "ratio": ratio} for name, a, b, ratio in rows])
        return
    shown = [[name, f"{a:.4g} ms", f"{b:.4g} ms", f"x {ratio:.2f}"] for name, a, b, ratio in rows]
    show_table(
        "second against first, relative to the typical block", ["entry", first.stem, second.stem, "ratio"], shown
    )


def _error_pct(model: "LatencyModel", row: "Population") -> float | None:
    """One standard deviation of a prediction, what was guessed included; None where nobody knows."""
    from profilers.errors import InvalidInputError

    if not model.guessed or not model.calibration.known:
        return model.calibration.spread_pct if model.calibration.known else None
    try:
        return float(100 * (model.upper(ONE_DEVIATION_PCT)(row)[0] / model.latency_ms(row)[0] - 1))
    except InvalidInputError:
        return None


def _space(workspace: Path, device: str, space: str, resolution: str, data: str) -> "SearchSpace":
    """The space that is meant, with the classes of the data or of the supernet, unless the table is a published one."""
    from hwnas.cli.steps import Job
    from hwnas.cli.values import resolutions

    return Job.resolved(workspace, device, None, None, space, resolutions(resolution), data).space


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


def _here(workspace: Path, device: str, runtime: str | None, precision: str | None) -> "Fingerprint | None":
    """What a local device is now; None for one at the far end of a connection, or known from a published table."""
    from hwnas.workspace import Workspace
    from profilers.configuration import find_device
    from profilers.device import fingerprint

    if Workspace(workspace).imported(device).exists():
        return None
    found = find_device(device, workspace, runtime, precision)
    return fingerprint(found) if found.connect == "local" else None


def _arch(text: str, space: "SearchSpace") -> "Arch":
    """The architecture that is spelled, or described by a file."""
    from hwnas.published import read_net

    return read_net(Path(text), space) if text.endswith((".json", ".config")) else space.parse(text)


def _repeated(found: "Measurement") -> bool:
    return len(found.samples_ms) > 1  # of a single figure nobody knows how far off it may be
