"""Options that several commands share, each with its one spelling and help text."""

from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import names

WorkspaceFolder = Annotated[
    Path, typer.Option("--workspace", envvar="HWNAS_WORKSPACE", help="Folder in which everything is kept.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DeviceName = Annotated[str, typer.Option("--device", help="A device, as `hwnas devices` lists them.")]
Runtime = Annotated[
    str | None, typer.Option("--runtime", callback=names.runtime, help="Another runtime than the device's own.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", callback=names.precision, help="Another precision than the device's own: fp32 or int8."
    ),
]
SpaceName = Annotated[str, typer.Option("--space", callback=names.space, help="A search space, NAME or NAME@WIDTH.")]
Resolution = Annotated[
    str, typer.Option("--resolution", help="Image sizes, like 160,192,224; the space's own if none.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        callback=names.data,
        help="The data set; if none, that of the only supernet of the space, or digit-pairs.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Where all randomness comes from.")]
_LATENCY = typer.Option(
    "--latency", help="The budget, like 80ms; several: 2ms,3ms; one net for several devices: host=3ms,board=40ms."
)
Latencies = Annotated[str, _LATENCY]
AnyLatencies = Annotated[str | None, _LATENCY]
Guess = Annotated[
    str | None,
    typer.Option(
        "--guess",
        callback=names.guess,
        help="Price what was not measured: `sizes` between measured ones, or `blocks` learned from the others.",
    ),
]
Available = Annotated[
    bool, typer.Option("--available", help="Leave out choices whose blocks have no time, instead of measuring them.")
]
MostMacs = Annotated[str, typer.Option("--macs", help="Multiply-accumulates at most, like 300M.")]
MostParams = Annotated[str, typer.Option("--params", help="Parameters at most, like 5M.")]
MostMemory = Annotated[str, typer.Option("--memory", help="Peak activation memory at most, like 4MB.")]
MostFile = Annotated[str, typer.Option("--file-size", help="Size of the model file at most, like 5MB.")]
Confidence = Annotated[
    float | None,
    typer.Option(min=1, max=99.9, help="Keep latencies with the upper end of an interval of so many percent."),
]
NoAuto = Annotated[bool, typer.Option("--no-auto", help="Refuse to profile or train on the way.")]
