"""A search's log holds every score once, goes on where it was cut off, and is drawn."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.report import draw_searches
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.engine import search
from hwnas.search.log import decoded, encoded, search_log
from hwnas.spaces import open_space
from hwnas.workspace import Workspace
from lut.compiled import Compiled
from lut.storage import RecordLog
from profilers.errors import InvalidInputError

DIGITS = open_space("digits")
MACS = Compiled.of(DIGITS, lambda block: block.macs / 1e6)
LIMIT = 2.5
LIMITS = Constraints((Constraint("MACs", MACS, LIMIT, "M"),))
IDENTITY = {"limits": [{"MACs": LIMIT}]}


def score(population):
    return np.sin(population @ np.arange(1, population.shape[1] + 1)) + population.sum(axis=1) / 10


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_rows_written_are_rows_read(seed, count):
    rows = DIGITS.sample(count, np.random.default_rng(seed))
    assert (decoded(encoded(rows), len(DIGITS.sizes)) == rows).all()


def run(path, asked, cut=None):
    """A search through the log, which counts what is really scored; it breaks off after `cut` architectures."""

    def counting(population):
        if cut is not None and len(asked) >= cut:
            raise KeyboardInterrupt
        asked.extend(population.tolist())
        return score(population)

    with search_log(path, IDENTITY, DIGITS) as log:
        return search(DIGITS, LIMITS, log.through(counting, 0, MACS), np.random.default_rng(0), evaluations=600)


def test_a_search_that_was_cut_off_goes_on_and_ends_where_an_unbroken_one_does(tmp_path):
    unbroken, first, second = [], [], []
    whole = run(tmp_path / "whole.jsonl", unbroken)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.jsonl", first, cut=300)
    resumed = run(tmp_path / "cut.jsonl", second)
    assert (resumed.population == whole.population).all() and (resumed.scores == whole.scores).all()
    assert first + second == unbroken and first and second
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_everything_that_was_scored_is_in_the_log_with_its_cost(tmp_path):
    asked = []
    run(tmp_path / "log.jsonl", asked)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()[1:]]
    rows = np.concatenate([decoded(record["rows"], len(DIGITS.sizes)) for record in records])
    assert rows.tolist() == asked
    np.testing.assert_allclose(np.concatenate([r["costs"] for r in records]), MACS(rows), rtol=1e-5)
    assert np.concatenate([r["scores"] for r in records]).tolist() == score(rows).tolist()


def test_a_log_that_is_damaged_is_refused_by_name(tmp_path):
    path = tmp_path / "log.jsonl"
    run(path, [])
    path.write_text(path.read_text().replace('"scores":[', '"scores":["x",', 1))
    with pytest.raises(InvalidInputError, match=r"log\.jsonl is damaged"):
        run(path, [])


def test_what_searches_scored_is_drawn(tmp_path):
    place = Workspace(tmp_path)
    assert draw_searches(place) == (None, [])
    place.searches.mkdir()
    run(place.search_log("digits", "a" * 64), [])
    picture, wrong = draw_searches(place)
    assert not wrong and picture is not None and picture.read_bytes().startswith(b"\x89PNG")


DIGITS = open_space("digits")


@pytest.mark.parametrize("record", [{"rows": 7}, {"rows": None}, {"rows": " "}, {"rows": "00"}, {"scores": ["a"]}])
def test_a_record_that_is_none_is_refused_by_name(tmp_path, record):
    plain = {"search": 0, "rows": "0" * len(DIGITS.dimensions), "scores": [0.5], "costs": [1.0]}
    if record == {"rows": " "}:
        record = {"rows": " " * len(DIGITS.dimensions)}  # a choice below the first
    log = RecordLog.open(tmp_path / "log.jsonl", {"format": "hwnas-search", "version": 1})
    log.append(plain | record)
    with (
        pytest.raises(InvalidInputError, match=r"log\.jsonl is damaged"),
        search_log(tmp_path / "log.jsonl", {}, DIGITS),
    ):
        pass
