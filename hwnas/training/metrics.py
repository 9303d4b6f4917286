"""What a training run writes down of its steps: a CSV file, and TensorBoard's files where they are wanted."""

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lut.storage import write_atomically
from profilers.errors import InvalidInputError

Row = dict[str, str]


class Journal:
    """Writes figures of steps to a CSV file and to a folder of TensorBoard's, or to neither."""

    def __init__(self, metrics: Path | None = None, tensorboard: Path | None = None) -> None:
        self._path, self._folder = metrics, tensorboard
        self._csv: Metrics | None = None
        self._board: Any = None

    @contextmanager
    def open(self, after: int) -> Iterator[None]:
        """Go on behind step `after`; raises InvalidInputError where TensorBoard is wanted and not installed."""
        self._board = _tensorboard(self._folder, after) if self._folder else None
        self._csv = Metrics(self._path, after) if self._path else None
        try:
            yield
        finally:
            if self._board is not None:
                self._board.close()

    def note(self, step: int, figures: Mapping[str, float]) -> None:
        """Write down what came of a step."""
        if self._csv is not None:
            self._csv.add(step, figures)
        if self._board is not None:
            for name, figure in figures.items():
                self._board.add_scalar(name.replace(" ", "/"), figure, step)


class Metrics:
    """A CSV file with a line a step. Opened again, it goes on behind step `after`: what stood there is made anew."""

    def __init__(self, path: Path, after: int) -> None:
        self.path = path
        self._columns, rows = _read(path, after)
        self._write(rows)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Write one line; a name that is new becomes another column."""
        row = {"step": str(step)} | {name: f"{figure:.10g}" for name, figure in figures.items()}
        if new := [name for name in row if name not in self._columns]:
            _, rows = _read(self.path, step)
            self._columns += new
            self._write(rows)
        try:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
        except OSError as error:
            raise InvalidInputError(f"{self.path} cannot be written: {error.strerror}") from error

    def _write(self, rows: list[Row]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue().encode())


def _read(path: Path, last: int) -> tuple[list[str], list[Row]]:
    """The columns of a file and its lines up to step `last`, without those that a crash cut off."""
    if not path.exists() or not last:
        return ["step"], []
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    reader = csv.DictReader(line for line in lines if line.endswith("\n"))
    columns = list(reader.fieldnames or [])
    if columns[:1] != ["step"]:
        return ["step"], []
    return columns, [row for row in reader if row["step"].isdecimal() and int(row["step"]) <= last]


def _tensorboard(folder: Path, after: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InvalidInputError(
            "TensorBoard is not installed: pip install 'hwnas[tensorboard]', or leave --tensorboard out"
        ) from error
    return SummaryWriter(str(folder), purge_step=after + 1)
