"""What users see: progress with remaining time on stderr, results as tables or JSON on stdout."""

import io
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from hwnas.cli.output import on_stdout, out, printable, say, say_of, speaks_unicode, write_out

if TYPE_CHECKING:
    from hwnas.heatmap import HeatMap

__all__ = ["ProgressDisplay", "out", "say", "say_of", "show_heat_map", "show_json", "show_table"]

SECONDS_PER_LINE = 10.0  # between two lines of progress where there is no terminal to draw bars on
ANY_WIDTH = 100_000  # a result that is piped into a file is not cut to the width of a terminal that is not there
FRAME = 3  # characters that a table needs for each column: a line, and a blank on both sides
TASK_WIDTH = 30


def show_json(result: Any) -> None:
    """Print a result as JSON."""
    write_out(json.dumps(result, indent=2) + "\n")


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a result as a table; the first column is text, the others are figures.

    No value is ever broken or cut. In a terminal that is too narrow, names of columns are broken between words, and the
    widest columns are told below the table.
    """
    cells, names = [[on_stdout(cell) for cell in row] for row in rows], list(map(on_stdout, columns))
    broken = [_broken(name, [row[number] for row in cells]) for number, name in enumerate(names)]

    def fit(names: Sequence[str]) -> bool:
        return _fits([names[n] for n in shown], [[row[n] for n in shown] for row in cells])

    shown = list(range(len(names)))
    while len(shown) > 1 and not fit(broken):
        shown.remove(max(shown[1:], key=lambda number: max(cell_len(row[number]) for row in cells)))
    names = names if fit(names) else broken
    table = Table(
        title=Text(on_stdout(title)), title_justify="left",
        box=box.HEAVY_HEAD if speaks_unicode(sys.stdout) else box.ASCII2,
    )  # fmt: skip
    for number in shown:
        table.add_column(Text(names[number]), justify="left" if number == 0 else "right", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(row[number]) for number in shown))
    _print(table)
    _tell_below(columns, cells, [number for number in range(len(columns)) if number not in shown])


def _fits(names: Sequence[str], cells: Sequence[Sequence[str]]) -> bool:
    """Whether a table is no wider than the terminal; always, where there is none."""
    values = zip(*cells, strict=True) if cells else [()] * len(names)
    widths = [
        max(map(cell_len, [*name.split("\n"), *of_column])) for name, of_column in zip(names, values, strict=True)
    ]
    return sum(widths) + FRAME * len(widths) + 1 <= _width()


def _broken(name: str, values: Sequence[str]) -> str:
    """A column's name in lines no wider than its values, if its words allow that."""
    room = max([*map(cell_len, values), *map(len, name.split()), 1])
    return "\n".join(textwrap.wrap(name, room, break_on_hyphens=False))


def _tell_below(columns: Sequence[str], cells: Sequence[Sequence[str]], told: Sequence[int]) -> None:
    """What had no room in a table, a line a value, each behind the name of its row."""
    for row in cells:
        for number in told:
            if row[number]:
                of = [row[0], columns[number]] if len(told) > 1 or not row[0] else [row[0]]
                out(f"{', '.join(filter(None, of))}: {row[number]}")


def show_heat_map(title: str, found: "HeatMap") -> None:
    """Print a heat map, if there is anything on it, from white to red where the terminal has colours."""
    if not found.cells:
        return
    table = Table(title=Text(on_stdout(title)), title_justify="left", box=None, padding=(0, 1, 0, 0))
    times = {place: f"{cell.ms:.3g}" for place, cell in found.cells.items()}
    widths = [
        max(cell_len(name), *(len(ms) for (_, column), ms in times.items() if column == name)) for name in found.columns
    ]
    room = max(1, _width() - 1 - sum(width + 1 for width in widths))  # names of rows are broken before any time is
    table.add_column("", no_wrap=True)
    for column in found.columns:
        table.add_column(Text(on_stdout(column)), justify="right", no_wrap=True)
    for row in found.rows:
        cells = []
        for column in found.columns:
            cell = found.cells.get((row, column))
            fade = 255 if cell is None else 255 - round(200 * found.heat(cell))
            cells.append(Text("") if cell is None else Text(times[row, column], f"black on rgb(255,{fade},{fade})"))
        table.add_row(Text("\n".join(textwrap.wrap(on_stdout(row), room, break_long_words=False))), *cells)
    _print(table)


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else ANY_WIDTH


def _print(table: Table) -> None:
    """Print a table as wide as it is: where a terminal is narrower, that wraps its lines, and copies them whole."""
    drawn = io.StringIO()
    console = Console(
        file=drawn, width=ANY_WIDTH, force_terminal=sys.stdout is not None and sys.stdout.isatty(), legacy_windows=False
    )
    console.print(table)
    write_out("\n".join(line.rstrip() for line in drawn.getvalue().split("\n")))


class ProgressDisplay:
    """Bars with remaining time, one a task; lines now and then where stderr is no terminal. A `Report`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=_cut(max_width=TASK_WIDTH)),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:3.0f} %", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("left", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, table_column=_cut(ratio=1)),
            console=self._console, disable=not self._console.is_terminal, expand=True,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, tuple[float, float]] = {}
        self._next_line: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, task: str, fraction: float, note: str) -> None:
        """Take note of a task's progress."""
        task, note = printable(task), printable(note)
        if self._console.is_terminal:
            self._draw(task, fraction, note)
        else:
            self._write(task, fraction, note)

    def _draw(self, task: str, fraction: float, note: str) -> None:
        if task not in self._tasks or (self._bars.tasks[self._tasks[task]].finished and fraction < 1):
            self._tasks[task] = self._bars.add_task(task, total=1.0, note=note)
        self._bars.update(self._tasks[task], completed=fraction, note=note)

    def _write(self, task: str, fraction: float, note: str) -> None:
        now = time.monotonic()
        begun, already = self._begun.setdefault(task, (now, fraction))  # what is resumed begins in its middle
        if fraction >= 1:
            del self._begun[task]
        if fraction >= 1 or now >= self._next_line.get(task, 0.0):
            done = fraction - already
            left = f", {(now - begun) * (1 - fraction) / done:.0f} s left" if done > 0.02 and fraction < 1 else ""
            say(f"{task}: {100 * fraction:.0f} %{left}; {note}")
            self._next_line[task] = now + SECONDS_PER_LINE


def _cut(max_width: int | None = None, ratio: int | None = None) -> Column:
    """A column whose text is cut where it is too long, so that bar and time are not."""
    return Column(no_wrap=True, overflow="ellipsis", max_width=max_width, ratio=ratio)
