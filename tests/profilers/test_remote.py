"""A device at the far end of a connection is measured completely, whatever the connection does meanwhile."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from profilers import patience
from profilers.errors import LostError
from profilers.formats import ModelFile
from profilers.measurement import Plan
from profilers.rounds import Round

from .conftest import Open
from .local_shell import LocalShell

PLAN = Plan(target_pct=0.0, max_rounds=3)  # never precise enough


def takes(ms: int) -> ModelFile:
    return ModelFile("onnx", f"takes {ms}\n".encode())


MODELS = {f"{ms} ms": takes(ms) for ms in (1, 2, 3)}


def whole_rounds(found: Iterable[Round]) -> Iterator[Round]:
    """Without those that only say that the device is still at it."""
    return (one for one in found if one.visits)


def visits(rounds: list[Round]) -> list[tuple[str, float]]:
    return [(name, visit.ms) for found in rounds for name, visit in found.visits.items()]


def nothing_left(board: LocalShell) -> bool:
    """Of what was done there, only the runner stays, for the next time."""
    return board.idle() and [path.name for path in board.place.iterdir()] == ["runner-of-the-tests"]


def test_every_model_gets_its_rounds_and_nothing_is_left_behind(scripted: Open, board: LocalShell) -> None:
    with scripted() as profiler:
        rounds = list(whole_rounds(profiler.measure(MODELS, PLAN)))
        assert [set(found.visits) for found in rounds] == [set(MODELS)] * 3
        assert all(int(visit.ms) == int(name.split()[0]) for found in rounds for name, visit in found.visits.items())
        assert len(set(visits(rounds))) == 9
    assert nothing_left(board) and board.closed == 1


def test_the_runner_is_put_there_once(scripted: Open, board: LocalShell) -> None:
    for _ in range(2):
        with scripted() as profiler:
            list(profiler.measure(MODELS, PLAN))
    assert sum(call[0] == "push" and "scripted_runner.sh" in call for call in board.calls) == 1


def calls_of_a_run(scripted: Open, board: LocalShell) -> int:
    with scripted() as profiler:
        list(profiler.measure(MODELS, PLAN))
    return len(board.calls)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_that_breaks_at_any_call_changes_nothing(scripted: Open, board: LocalShell, moment) -> None:
    many = calls_of_a_run(scripted, board)
    assert many > 15
    with scripted() as profiler:
        expected = visits(list(profiler.measure(MODELS, PLAN)))
    for broken in range(many):
        for runner in board.place.glob("runner-*/*"):
            runner.unlink()
        board.calls.clear()
        board.lost = {broken: moment}
        with scripted() as profiler:
            assert visits(list(profiler.measure(MODELS, PLAN))) == expected, board.calls[broken]
            board.lost = {}
        assert nothing_left(board), board.calls[broken]


def test_a_connection_that_breaks_at_every_other_call_changes_nothing(scripted: Open, board: LocalShell) -> None:
    told = list[str]()
    moments = itertools.cycle(["before", "after"])
    board.lost = {number: next(moments) for number in range(0, 1000, 2)}
    with scripted(told.append) as profiler:
        found = visits(list(profiler.measure(MODELS, PLAN)))
        board.lost = {}
    assert len(set(found)) == 9 and nothing_left(board)
    assert told[0] == "the cable is out; trying again for 10 s"


def test_a_device_that_stays_away_is_given_up_and_what_was_measured_is_kept(
    scripted: Open, board: LocalShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.2)
    found, told = list[Round](), list[str]()

    def measure() -> None:
        with scripted(told.append) as profiler:
            for one in profiler.measure(MODELS, replace(PLAN, max_rounds=500)):
                found.append(one)
                board.away_until = math.inf

    with pytest.raises(LostError, match=r"the cable is out; given up after 0 s, what was measured is kept"):
        measure()
    assert found and board.closed == 1
    assert len(told) == 2  # that the runner is put there, and that the device was lost: closing says no more

    board.away_until = 0.0
    with scripted() as profiler:  # what was left there is found and removed
        list(profiler.measure(MODELS, PLAN))
    assert nothing_left(board)


def test_of_a_round_that_the_device_never_ends_what_was_read_is_kept(scripted, board, monkeypatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.1)
    found, models = (
        list[Round](),
        {f"{ms} ms": takes(ms) for ms in range(1, 9)} | {"endless": ModelFile("onnx", b"wait")},
    )

    def away(words: tuple[str, ...]) -> None:
        results = list(board.place.glob("run-*/job*/result"))
        board.away_until = math.inf if len(board.calls) > 40 and "visit" in results[0].read_text() else 0.0

    board.before = away
    with scripted() as profiler, pytest.raises(LostError):
        found.extend(profiler.measure(models, PLAN))
    (result,) = board.place.glob("run-*/job*/result")
    assert 0 < len(visits(found)) == result.read_text().count("visit") < 8
