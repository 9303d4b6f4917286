"""Pictures: an empty figure to draw on, and how one becomes a PNG file. matplotlib is an extra, imported when used."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from lut.storage import write_atomically
from profilers.errors import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches; raises InvalidInputError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError("drawing needs matplotlib: pip install 'hwnas[report]'") from error

    return Figure(figsize=(width, height), layout="constrained")


def save_png(figure: "Figure", path: Path) -> None:
    """Write a figure as a PNG file; a full disk leaves the one from before."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120, format="png")
    write_atomically(path, drawn.getvalue())
