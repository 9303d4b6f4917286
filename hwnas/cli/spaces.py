"""`hwnas space`: what the search spaces hold, and what is attainable in them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwnas.cli.options import Json, Resolution, WorkspaceFolder
from hwnas.cli.output import out

if TYPE_CHECKING:
    from hwnas.space import SearchSpace

app = typer.Typer(help="Look into search spaces.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the spaces there are, with what their images must be."""
    from dataclasses import asdict

    from hwnas.cli.display import show_json, show_table
    from hwnas.spaces import listing

    found = listing()
    if as_json:
        show_json([asdict(one) for one in found])
        return
    columns = ["space", "channels", "resolutions", "classes", "blocks", "MACs", "what"]
    rows = [
        [
            one.name, str(one.image_chs), "/".join(map(str, one.resolutions)), str(one.classes), str(one.blocks),
            f"{one.macs[0] / 1e6:.3g} to {one.macs[1] / 1e6:.3g} M", one.summary,
        ]
        for one in found
    ]  # fmt: skip
    show_table("Spaces", columns, rows)
    out("NAME@WIDTH scales the channels; --resolution and --data choose image sizes and classes")


@app.command()
def show(
    space: Annotated[str, typer.Argument(help="A search space, NAME or NAME@WIDTH.")] = "digits",
    resolution: Resolution = "",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Show a space's dimensions and sizes, and the least and largest latency by each table that prices it."""
    from hwnas.cli.display import show_json, show_table
    from hwnas.cli.values import in_ms, resolutions
    from hwnas.spaces import open_space

    found = open_space(space, resolutions=resolutions(resolution))
    facts = _facts(found, workspace)
    if as_json:
        show_json([facts])
        return
    rows = [[one["name"], ", ".join(map(str, one["choices"]))] for one in facts["dimensions"]]
    show_table(found.name, ["dimension", "choices"], rows)
    out(
        f"{facts['combinations']:.3g} combinations of choices, {facts['blocks']} blocks, {facts['classes']} classes, "
        f"for images of {'/'.join(map(str, facts['resolutions']))} pixels with {facts['channels']} channels"
    )
    for what in ("macs", "params"):
        least, greatest = facts[what]
        out(f"{what}: {least / 1e6:.3g} M to {greatest / 1e6:.3g} M")
    for one in facts["latency"]:
        out(f"{one['device']}: {in_ms(one['least_ms'])} to {in_ms(one['greatest_ms'])} ({one['table']})")
    if not facts["latency"]:
        out("no table here prices it: hwnas profile measures one")


def _facts(space: "SearchSpace", workspace: Path) -> dict[str, Any]:
    """What is known of a space, under the names that `--json` has for it."""
    from math import prod

    from hwnas import costs
    from hwnas.attainable import Range

    macs, params = Range.of(costs.macs(space)), Range.of(costs.params(space))
    return {
        "space": space.name,
        "dimensions": [{"name": one.name, "choices": list(one.choices)} for one in space.dimensions],
        "combinations": prod(space.sizes),
        "blocks": len(space.vocabulary),
        "resolutions": list(space.resolutions),
        "channels": space.image_chs,
        "classes": space.classes,
        "macs": [macs.least, macs.greatest],
        "params": [params.least, params.greatest],
        "latency": _latencies(space, workspace),
    }


def _latencies(space: "SearchSpace", workspace: Path) -> list[dict[str, Any]]:
    """The least and largest latency of the space by each of the workspace's tables that prices it."""
    from contextlib import suppress

    from hwnas.attainable import Range
    from hwnas.pricing import latency_model
    from lut.table import LatencyTable
    from profilers.errors import HwnasError

    found = []
    for path in sorted((workspace / "tables").glob("*.jsonl")):
        with suppress(HwnasError):
            table = LatencyTable.read(path)
            range_ms = Range.of(latency_model(table, space).cost)
            found.append({
                "device": table.device_name, "table": str(path), "least_ms": range_ms.least,
                "greatest_ms": range_ms.greatest,
            })  # fmt: skip
    return found
