"""What a device and its runner do wrong costs one model or is said in one line; nothing false is taken for a time."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from profilers import remote
from profilers.errors import DeviceError, FailedModelsError
from profilers.formats import ModelFile
from profilers.measurement import Visit
from profilers.rounds import Round

from .conftest import Open
from .local_shell import LocalShell
from .test_remote import MODELS, PLAN, nothing_left, takes, visits, whole_rounds


def model(text: str) -> ModelFile:
    return ModelFile("onnx", f"{text}\n".encode())


def collected(found: Iterator[Round]) -> tuple[list[Round], DeviceError]:
    """The rounds of a measurement that ends with an error, and that error."""
    rounds = list[Round]()
    with pytest.raises(DeviceError) as failed:
        rounds += whole_rounds(found)
    return rounds, failed.value


def test_a_model_that_the_runtime_refuses_fails_alone_and_by_name(scripted: Open, board: LocalShell) -> None:
    with scripted() as profiler:
        rounds, error = collected(profiler.measure({**MODELS, "odd; $(one)": model("refuse no such operator")}, PLAN))
    assert isinstance(error, FailedModelsError) and error.models == {"odd; $(one)": "no such operator"}
    assert [set(found.visits) for found in rounds] == [set(MODELS)] * 3
    assert nothing_left(board)


def test_names_of_models_reach_no_device(scripted: Open, board: LocalShell) -> None:
    models = {f"{name} '\"; $(touch owned) `id`\n": takes(1) for name in "ab"}
    with scripted() as profiler:
        assert set(next(whole_rounds(profiler.measure(models, PLAN))).visits) == set(models)
    assert not any("owned" in word for call in board.calls for word in call)


@pytest.mark.parametrize("how", ["KILL", "SEGV"])
def test_a_runner_that_dies_at_a_model_twice_goes_on_without_it(scripted: Open, board: LocalShell, how: str) -> None:
    with scripted() as profiler:
        rounds, error = collected(profiler.measure({**MODELS, "deadly": model(f"die {how}")}, PLAN))
    assert isinstance(error, FailedModelsError)
    assert error.models == {"deadly": "the runner died of it: it was too much"}
    counts = {name: sum(name in found.visits for found in rounds) for name in MODELS}
    assert min(counts.values()) == 3 and len(set(visits(rounds))) == sum(counts.values())
    jobs = [call for call in board.calls if call[:2] == ("push", "job")]
    assert len(jobs) == 3  # it died twice, and not a third time


def test_a_runner_that_dies_before_any_model_is_an_error_of_the_device(
    scripted: Open, board: LocalShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as profiler:
        _ = profiler.fingerprint()
        script = next(board.place.glob("runner-*/*.sh"))
        script.write_text(script.read_text().replace("round=0 visits=0", "echo no sentinel; kill -9 $$"))
        rounds, error = collected(profiler.measure(MODELS, PLAN))
    assert str(error) == "the runner on the device dies before it measures anything: no sentinel" and not rounds


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:40], "was cut to 40 bytes"),
        (lambda _: "", "was cut to 0 bytes"),
        (lambda text: text + "visit 7 0 nan 0.1 0\n", "'visit 7 0 nan 0.1 0', which is no answer of our runner"),
        (lambda text: text + "visit 900 77 1.0 0.1 0\n", "'visit 900 77 1.0 0.1 0'"),
        (lambda text: text + "failed 77 of what\n", "'failed 77 of what'"),
        (lambda text: text + "end 1\n", "'end 1'"),
        (lambda text: text + "\N{SNOWMAN}\0 garbage\n", "garbage"),
    ],
)
def test_an_answer_that_somebody_else_wrote_is_refused_with_a_quotation(
    scripted: Open, board: LocalShell, change: Callable[[str], str], said: str
) -> None:
    with scripted() as profiler:
        found = profiler.measure({**MODELS, "endless": model("wait")}, replace(PLAN, max_rounds=9))
        _spoil_later(board, change)
        _, error = collected(found)
    assert said in str(error) and "\n" not in str(error)
    assert nothing_left(board)


def _spoil_later(board: LocalShell, change: Callable[[str], str]) -> None:
    """Change the result once it has been read twice."""
    looks = 0

    def spoil(words: tuple[str, ...]) -> None:
        nonlocal looks
        results = list(board.place.glob("run-*/job*/result"))
        looks += "tail -c" in words[3] if len(words) > 3 else False
        if looks == 3 and results:
            results[0].write_text(change(results[0].read_text()))

    board.before = spoil


def test_a_result_that_grows_beyond_any_job_is_not_read_on(scripted: Open, board: LocalShell) -> None:
    looks = 0

    def grow(words: tuple[str, ...]) -> None:
        nonlocal looks
        looks += "tail -c" in words[3] if len(words) > 3 else False
        for result in board.place.glob("run-*/job*/result"):
            if looks == 3 and result.stat().st_size < 1 << 32:
                os.truncate(result, 5 << 30)  # sparse: takes no room

    board.before = grow
    with scripted() as profiler:
        _, error = collected(profiler.measure(MODELS, replace(PLAN, max_rounds=10**6)))
    assert "result file has 5368" in str(error) and "more than any job gives" in str(error)
    assert nothing_left(board)


def test_an_answer_to_another_job_is_refused(scripted: Open, board: LocalShell) -> None:
    with scripted() as profiler:
        _ = profiler.fingerprint()
        script = next(board.place.glob("runner-*/*.sh"))
        script.write_text(script.read_text().replace("hwnas-result 1 %s", "hwnas-result 1 0%s"))
        rounds, error = collected(profiler.measure(MODELS, PLAN))
    assert "begins with 'hwnas-result 1 0" in str(error) and "not with this job's token" in str(error) and not rounds


def test_a_clock_that_stands_still_is_no_measurement(scripted: Open) -> None:
    with scripted(clock="cpu") as profiler:
        rounds, error = collected(profiler.measure({"any": model("still")}, PLAN))
    assert str(error) == "board timed nothing: by its cpu clock no run took any time" and not rounds


def test_a_full_disk_is_said_at_once(scripted: Open, board: LocalShell) -> None:
    with scripted() as profiler:
        _ = profiler.fingerprint()
        board.full = True
        _, error = collected(profiler.measure(MODELS, PLAN))
        board.full = False
    assert "No space left on device" in str(error) and nothing_left(board)


def test_earlier_visits_count(scripted: Open) -> None:
    earlier = {name: [Visit(1.0, 0.1)] * 5 for name in MODELS}
    with scripted() as profiler:
        assert len(list(whole_rounds(profiler.measure(MODELS, replace(PLAN, max_rounds=7), earlier)))) == 2
        assert not list(profiler.measure(MODELS, replace(PLAN, max_rounds=5), earlier))


def test_what_nobody_waits_for_does_not_run_beside_the_next(scripted: Open, board: LocalShell) -> None:
    with scripted() as profiler:
        for _ in range(3):
            found = profiler.measure(MODELS, replace(PLAN, max_rounds=10**6))
            next(whole_rounds(found))
            found.close()
            assert len(board.processes()) == 1
    assert nothing_left(board)


def test_the_same_models_are_put_there_once_until_they_are_too_many(
    scripted: Open, board: LocalShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pushed() -> int:
        return sum(word.endswith(".onnx") for call in board.calls if call[0] == "push" for word in call)

    with scripted() as profiler:
        for _ in range(2):
            list(profiler.measure(MODELS, PLAN))
            assert pushed() == 1 + len(MODELS)  # with the sentinel
        monkeypatch.setattr(remote, "KEPT_BYTES", 10)
        assert len(list(whole_rounds(profiler.measure(MODELS, PLAN)))) == 3
        assert pushed() == 2 * (1 + len(MODELS))
        assert len(list(board.place.glob("run-*/*.onnx"))) == 1 + len(MODELS)
