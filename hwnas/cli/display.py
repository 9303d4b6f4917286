"""What users see: progress with remaining time on stderr, results as tables or JSON on stdout."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from hwnas.heatmap import HeatMap

SECONDS_PER_LINE = 10.0  # between two lines of progress where there is no terminal to draw bars on


def say(text: str) -> None:
    """Tell the user what happens; on stderr, so that stdout is the result alone."""
    print(text, file=sys.stderr, flush=True)


def say_of(name: str) -> Callable[[str], None]:
    """Tells the user what happens with one of several devices."""
    return lambda text: say(f"{name}: {text}")


def show_json(result: Any) -> None:
    """Print a result as JSON."""
    print(json.dumps(result, indent=2))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a result as a table; the first column is text, the others are figures."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def show_heat_map(title: str, found: "HeatMap") -> None:
    """Print a heat map, if there is anything on it, from white to red where the terminal has colours."""
    if not found.cells:
        return
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))  # ten columns fit 80 characters
    table.add_column("", overflow="fold")
    for column in found.columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.rows:
        cells = []
        for column in found.columns:
            cell = found.cells.get((row, column))
            fade = 255 if cell is None else 255 - round(200 * found.heat(cell))
            cells.append("" if cell is None else f"[black on rgb(255,{fade},{fade})]{cell.ms:.3g}[/]")
        table.add_row(row, *cells)
    _console().print(table)


def _console() -> Console:
    # A result that is piped into a file is not to be cut to the width of a terminal that is not there.
    return Console(width=None if sys.stdout.isatty() else 160)


class ProgressDisplay:
    """Bars with remaining time, one a task; lines now and then where stderr is no terminal. A `Report`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
            console=self._console, disable=not self._console.is_terminal,
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
