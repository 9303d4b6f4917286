"""Options that several commands share, each with its one spelling and help text."""

from pathlib import Path
from typing import Annotated

import typer

WorkspaceFolder = Annotated[
    Path, typer.Option("--workspace", envvar="HWNAS_WORKSPACE", help="Folder in which everything is kept.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DeviceName = Annotated[str, typer.Option("--device", help="A device, as `hwnas devices` lists them.")]
Runtime = Annotated[str | None, typer.Option("--runtime", help="Another runtime than the device's own.")]
Precision = Annotated[
    str | None, typer.Option("--precision", help="Another precision than the device's own: fp32 or int8.")
]
SpaceName = Annotated[str, typer.Option("--space", help="A search space, NAME or NAME@WIDTH.")]
Resolution = Annotated[
    str, typer.Option("--resolution", help="Image sizes, like 160,192,224; the space's own if none.")
]
Data = Annotated[str, typer.Option("--data", help="The data set.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Where all randomness comes from.")]
Latencies = Annotated[str, typer.Option("--latency", help="The budget, like 80ms; several with commas between.")]
NoAuto = Annotated[bool, typer.Option("--no-auto", help="Refuse to profile or train on the way.")]
