"""`hwnas supernet`: published supernets read into the workspace, and supernets written for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import names
from hwnas.cli.options import Json, Resolution, WorkspaceFolder
from hwnas.cli.output import out

app = typer.Typer(help="Import published supernets, export supernets for other tools.", no_args_is_help=True)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(callback=names.file, help="A state dict in once-for-all's naming: torch, safetensors or npz."),
    ],
    space: Annotated[
        str, typer.Option("--space", callback=names.space, help="The search space it is of, NAME or NAME@WIDTH.")
    ],
    width: Annotated[float | None, typer.Option("--width", help="Its width, if the space is given as NAME.")] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, help="How many classes it tells apart.")] = None,
    resolution: Resolution = "",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Read a published supernet into the workspace; every command that takes its --space finds it there."""
    from hwnas.cli.display import say, show_json
    from hwnas.cli.values import resolutions
    from hwnas.spaces import open_space
    from hwnas.training.imported import import_into
    from hwnas.training.weights import IMPORTED
    from hwnas.workspace import Workspace

    if width is not None and "@" in space:
        raise typer.BadParameter(f"--space {space} has a width already")
    spec = space if width is None else f"{space}@{width:g}"
    of_space = open_space(spec, resolutions=resolutions(resolution), classes=classes)
    path = Workspace(workspace).supernet(of_space.name, IMPORTED)
    net, origin = import_into(path, file, of_space, say)
    params = sum(parameter.numel() for parameter in net.parameters())
    if as_json:
        show_json({"supernet": str(path), "space": of_space.name, "params": params, "origin": origin})
    else:
        out(f"{path}: {params / 1e6:.2f} M parameters of {of_space.name}, {of_space.classes} classes, from {file}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write; its suffix, .pth or .safetensors, is the format.")],
    space: Annotated[
        str, typer.Option("--space", callback=names.space, help="The search space of the supernet, NAME or NAME@WIDTH.")
    ],
    data: Annotated[str, typer.Option("--data", help="What it was trained on, or `imported`.")] = "imported",
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Write a supernet of the workspace, or one that comes with hwnas, in once-for-all's naming."""
    from hwnas.cli.display import show_json
    from hwnas.spaces import open_space
    from hwnas.training.checkpoints import export_checkpoint
    from hwnas.training.weights import digest_of, load_supernet, shipped_supernet
    from hwnas.workspace import Workspace

    of_space = open_space(space)
    path = Workspace(workspace).supernet(of_space.name, data)
    trained = load_supernet(path if path.exists() else shipped_supernet(of_space, data) or path)
    export_checkpoint(trained.net, file)
    if as_json:
        show_json({"file": str(file), "sha256": digest_of(file), "supernet": str(trained.path)})
    else:
        out(f"{file}: the supernet {trained.path} in once-for-all's naming")
