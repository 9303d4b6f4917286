"""A log of everything that a search scored: killed, the same search goes on from it, and reports are drawn from it.

The file (`lut.storage`) holds, behind a header that says which search it is of, a record for every population:

    {"search": 0, "rows": "0021…", "scores": [0.7712, …], "costs": [29.93, …]}

`search` counts the budgets that were searched for; `rows` are the choices of one architecture after the other, each a
character: choice 0 is "0", 1 is "1", and so on in the order of ASCII; `costs` are those that the first limit is on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hwnas.arch import Population
from hwnas.search.engine import Score
from hwnas.space import SearchSpace
from lut.compiled import Compiled, Floats
from lut.storage import Record, RecordLog
from profilers.errors import InvalidInputError, first_line

FORMAT, VERSION = "hwnas-search", 1
FIRST = ord("0")


class SearchLog:
    """Scores by architecture, in memory and on the disk."""

    def __init__(self, log: RecordLog, dims: int) -> None:
        self._log, self._dims = log, dims
        self._known: dict[bytes, float] = {}
        try:
            for record in log.records:
                rows = decoded(record["rows"], dims)
                if rows.size and rows.min() < 0:
                    raise ValueError("a choice that there is not")
                self._remember(rows, np.array(record["scores"], np.float64))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{log.path} is damaged ({first_line(error)}): remove it, and search again"
            ) from error

    def through(self, score: Score, search: int, cost: Compiled) -> Score:
        """`score`, but asked only for what the log does not know; what it says is kept as of search number `search`."""

        def logged(population: Population) -> Floats:
            keys = [row.tobytes() for row in np.ascontiguousarray(population, np.intp)]
            new = [place for place, key in enumerate(keys) if key not in self._known]
            if new:
                scores = score(population[new])
                self._log.append({
                    "search": search, "rows": encoded(population[new]), "scores": scores.tolist(),
                    "costs": [float(f"{value:.6g}") for value in cost(population[new])],
                })  # fmt: skip
                self._remember(population[new], scores)
            return np.array([self._known[key] for key in keys])

        return logged

    def _remember(self, population: Population, scores: Floats) -> None:
        rows = np.ascontiguousarray(population, np.intp)
        self._known.update(zip((row.tobytes() for row in rows), scores.tolist(), strict=True))


@contextmanager
def search_log(path: Path, identity: Record, space: SearchSpace) -> Iterator[SearchLog]:
    """The log of the search that `identity` describes, begun if there is none, and nobody else's meanwhile."""
    log = RecordLog.open(path, {"format": FORMAT, "version": VERSION, **identity})
    with log.writing():
        yield SearchLog(log, len(space.dimensions))


def encoded(population: Population) -> str:
    """Rows of choices as text, a character a choice."""
    return (population + FIRST).astype(np.uint8).tobytes().decode("ascii")


def decoded(text: str, dims: int) -> Population:
    """The rows that `encoded` wrote; raises ValueError."""
    return np.frombuffer(text.encode("ascii"), np.uint8).reshape(-1, dims).astype(np.intp) - FIRST
