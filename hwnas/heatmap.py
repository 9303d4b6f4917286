"""A heat map of a table: what inverted residuals cost, by stage, kernel and expansion.

A cell says what the block takes in ms; its colour says what that is for each million multiply-accumulates, so that a
stage or a kernel on which a runtime is weak stands out among others that compute as much.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwnas.pictures import new_figure, save_png
from lut.blocks import MBConv
from lut.table import LatencyTable
from profilers.errors import InvalidInputError

DARK = 0.65  # of the colour scale, from where black figures cannot be read


@dataclass(frozen=True)
class Cell:
    """One block of the map."""

    ms: float
    ms_per_mmac: float


@dataclass(frozen=True)
class HeatMap:
    """Cells by (row, column); rows are stages, columns are kernels with expansions."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]

    def heat(self, cell: Cell) -> float:
        """How dear a MAC is in this cell, on a logarithmic scale from the table's cheapest, 0, to its dearest, 1."""
        logs = [math.log(found.ms_per_mmac) for found in self.cells.values()]
        return (math.log(cell.ms_per_mmac) - min(logs)) / ((max(logs) - min(logs)) or 1.0)


def heat_map(table: LatencyTable) -> HeatMap:
    """The map of all inverted residuals in a table."""
    found = sorted((block for block in table.blocks() if isinstance(block, MBConv)), key=_order)
    cells = {}
    for block in found:
        ms = table.block_ms(block)
        cells[_row(block), _column(block)] = Cell(ms, ms / block.macs * 1e6)
    by_kernel = sorted({(block.kernel, _expansion(block), _column(block)) for block in found})
    return HeatMap(tuple(dict.fromkeys(map(_row, found))), tuple(column for _, _, column in by_kernel), cells)


def draw_heat_maps(maps: Mapping[str, HeatMap], path: Path) -> None:
    """Draw maps beside each other, under their titles, into a PNG file; all on one scale of ms a million MACs.

    Raises InvalidInputError without matplotlib, or if a map is empty.
    """
    if lacking := [title for title, found in maps.items() if not found.cells]:
        raise InvalidInputError(f"{lacking[0]} has no inverted residuals to draw")
    across = min(len(maps), 2)
    down = -(-len(maps) // across)
    wide, high = max(len(m.columns) for m in maps.values()), max(len(m.rows) for m in maps.values())
    figure = new_figure((2.2 + 0.5 * wide) * across + 1, (1.5 + 0.27 * high) * down)
    from matplotlib.colors import LogNorm

    heats = [cell.ms_per_mmac for found in maps.values() for cell in found.cells.values()]
    norm = LogNorm(min(heats), max(heats))
    axes = figure.subplots(down, across, squeeze=False)
    for panel in axes.flat[len(maps) :]:
        panel.set_axis_off()
    for panel, (title, found) in zip(axes.flat, maps.items(), strict=False):
        colours = panel.imshow(_grid(found), norm=norm, cmap="YlOrRd", aspect="auto")
        panel.set_title(title)
        panel.set_xticks(range(len(found.columns)), found.columns, rotation=90)
        panel.set_yticks(range(len(found.rows)), found.rows)
        for (row, column), cell in found.cells.items():
            at = (found.columns.index(column), found.rows.index(row))
            ink = "white" if norm(cell.ms_per_mmac) > DARK else "black"
            panel.annotate(f"{cell.ms:.2g}", at, ha="center", va="center", fontsize=7, color=ink)
    figure.colorbar(colours, ax=axes, label="ms per million MACs")
    save_png(figure, path)


def _grid(found: HeatMap) -> Sequence[Sequence[float]]:
    empty = Cell(math.nan, math.nan)
    return [[found.cells.get((row, column), empty).ms_per_mmac for column in found.columns] for row in found.rows]


def _order(block: MBConv) -> tuple[int, ...]:
    return (-block.hw, block.in_chs, block.out_chs, -block.stride)


def _row(block: MBConv) -> str:
    settings = f"{' /2' if block.stride == 2 else ''}{' SE' if block.se else ''} {block.act}"
    return f"{block.hw}² {block.in_chs}→{block.out_chs}{settings}"


def _column(block: MBConv) -> str:
    return f"k{block.kernel} e{_expansion(block):g}"


def _expansion(block: MBConv) -> float:
    return round(block.mid_chs / block.in_chs, 2)
