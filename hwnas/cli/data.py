"""`hwnas data`: the data sets there are."""

import typer

from hwnas.cli.options import Json

app = typer.Typer(help="Look into data sets.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the data sets there are, with what their images are, and which can be fetched by train --download."""
    from dataclasses import asdict

    from hwnas.cli.display import show_json, show_table
    from hwnas.training.datasets import listing

    found = listing()
    if as_json:
        show_json([
            {"data": one.name, "summary": one.summary, **asdict(one.facts), "downloadable": one.downloadable}
            for one in found
        ])  # fmt: skip
        return
    columns = ["--data", "channels", "pixels", "classes", "download", "what"]
    rows = [
        [
            one.facts.spelling, str(one.facts.channels), str(one.facts.hw),
            "as in the images" if one.facts.classes is None else str(one.facts.classes),
            "yes" if one.downloadable else "no", one.summary,
        ]
        for one in found
    ]  # fmt: skip
    show_table("Data sets", columns, [*rows, ["MODULE:FUNCTION", "", "", "", "no", "a data set of your own"]])
