"""A job is told in text and understood again; of an answer every whole line counts, and none is taken on trust."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.errors import DeviceError, InvalidInputError
from profilers.measurement import Plan, Visit
from profilers.runners.job import VERSION, Answer, Job

TOKEN = "0123456789abcdef"
HEAD = f"hwnas-result 1 {TOKEN}\n"
words = st.text("0123456789abcdef", min_size=1, max_size=24)
short = st.integers(1, 10**5).map(lambda n: n / 100)  # of as many digits as a job tells
jobs = st.builds(
    Job,
    token=words,
    models=st.dictionaries(st.integers(0, 10**6), words.map(lambda word: f"../{word}.onnx")),
    sentinel=words,
    clock=st.sampled_from(["wall", "cpu"]),
    threads=st.integers(1, 64),
    cpus=st.lists(st.integers(0, 127)).map(tuple),
    plan=st.builds(Plan, target_pct=st.just(1.0), warmup_runs=st.integers(0, 100), visit_ms=short),
    rounds=st.integers(1, 10**6),
    seconds=short,
    seed=st.integers(0, 2**32 - 1),
)


@given(jobs)
def test_a_job_is_understood_as_it_was_told(job: Job) -> None:
    assert Job.parse(str(job)) == job
    assert str(job).isascii() and str(job).endswith("\n")


JOB = Job(
    token=TOKEN, models={0: "../a.onnx"}, sentinel="../s.onnx", clock="wall", threads=1, cpus=(),
    plan=Plan(target_pct=1.0), rounds=3, seconds=2.0, seed=1,
)  # fmt: skip


@pytest.mark.parametrize("spoilt", ["hwnas-job", "clock", "threads", "rounds", "seconds", "seed", "sentinel", "warmup"])
def test_a_job_that_lacks_a_line_is_of_another_hwnas(spoilt: str) -> None:
    text = "".join(line for line in str(JOB).splitlines(keepends=True) if not line.startswith(spoilt))
    with pytest.raises(InvalidInputError, match="a job of another hwnas is not understood"):
        Job.parse(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [(f"hwnas-job {VERSION}", "hwnas-job 2"), ("threads 1", "threads many"), ("model 0", "model a"),
     ("model 0 ", "model 0 a b ")],
)  # fmt: skip
def test_a_job_with_another_value_is_of_another_hwnas(old: str, new: str) -> None:
    with pytest.raises(InvalidInputError, match="a job of another hwnas is not understood"):
        Job.parse(str(JOB).replace(old, new))


def test_a_runner_outlives_the_time_it_measures_by_what_loading_takes() -> None:
    assert replace(JOB, seconds=10.0).deadline_s == 910


def read(*parts: str) -> Answer:
    answer = Answer(TOKEN, range(5))
    for part in parts:
        answer.take(part)
    return answer


WHOLE = HEAD + (
    "runtime 1.31.1\nat 0\nat 3\nfailed 3 no such operator: Foo (7)\nat 0\nvisit 0 0 0.125000 0.100000 0\nat 1\n"
    "visit 0 1 12.5 0.11 1\nvisit 2 1 13.0 0.1 0\nend 3\n"
)


@given(st.lists(st.integers(0, len(WHOLE))))
def test_an_answer_says_the_same_however_it_comes_in_pieces(cuts: list[int]) -> None:
    """The rest of half a line is read again from `taken` on, as the device is asked for it."""
    answer = read()
    for cut in [*sorted(cuts), len(WHOLE)]:
        answer.take(WHOLE[answer.taken : cut])
    assert answer == read(WHOLE)
    assert answer.visits == [(0, 0, Visit(0.125, 0.1)), (0, 1, Visit(12.5, 0.11, True)), (2, 1, Visit(13.0, 0.1))]
    assert answer.failed == {3: "no such operator: Foo (7)"}
    assert (answer.runtime, answer.at, answer.ended, answer.refused) == ("1.31.1", 1, True, "")


@given(st.integers(0, len(WHOLE) - 1))
def test_half_an_answer_has_not_ended_and_holds_what_came_whole(cut: int) -> None:
    answer = read(WHOLE[:cut])
    assert not answer.ended and answer.taken <= cut
    assert answer.visits == read(WHOLE).visits[: WHOLE[:cut].count("\nvisit") - (answer.taken < cut and _in_visit(cut))]


def _in_visit(cut: int) -> bool:
    return WHOLE[:cut].rpartition("\n")[2].startswith("visit")


@pytest.mark.parametrize(
    "head",
    [f"hwnas-result 1 {TOKEN[::-1]}", f"hwnas-result 2 {TOKEN}", f"hwnas-result 1 {TOKEN} ", "end 0", "", "<html>",
     f"hwnas-result 1 {TOKEN}\r"],
)  # fmt: skip
def test_an_answer_to_another_job_is_refused(head: str) -> None:
    with pytest.raises(DeviceError, match=r"not with this job's token.*give the device to one at a time") as refused:
        read(f"{head}\nruntime 1.0\n")
    assert repr(head) in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "", " ", "garbage", "end", "end 1", "end 0 0", "END 0", "runtime", "runtime 1 2", "at", "at x", "at -1", "at 9",
        "at \N{ARABIC-INDIC DIGIT THREE}", "failed", "failed x y", "failed 9 of what", f"at {'9' * 5000}",
        *(f"visit {rest}" for rest in (
            "0 0 1.0 0.1", "0 0 1.0 0.1 2", "0 0 1.0 0.1 0 0", "0 0 0.000000 0.1 0", "0 0 1.0 0.0 0", "0 0 -1.0 0.1 0",
            "0 0 nan 0.1 0", "0 0 inf 0.1 0", "0 0 1e3 0.1 0", "0 0 1 0.1 0", "0 9 1.0 0.1 0", "-1 0 1.0 0.1 0",
            "0 0 1,5 0.1 0", "0 0  1.0 0.1 0", "0 0 1.0 0.1 0 ",
            f"0 0 {'9' * 400}.0 0.1 0", f"{'9' * 5000} 0 1.0 0.1 0",
            "0 0 \N{ARABIC-INDIC DIGIT THREE}.0 0.1 0", "0 0 1.0\x0b 0.1 0",
        )),
    ],
)  # fmt: skip
def test_a_line_that_no_runner_writes_is_refused_with_a_quotation(line: str) -> None:
    with pytest.raises(DeviceError, match=r"the device's result file holds .*, which is no answer of our runner") as no:
        read(HEAD, f"{line}\n")
    assert repr(line[:80]) in str(no.value) and "\n" not in str(no.value)


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("visit 1 0 1.0 0.1 0", "visit 1 0 1.0 0.1 0"),  # a second visit in one round
        ("visit 1 0 1.0 0.1 0", "visit 0 1 1.0 0.1 0"),  # of a round that is over
        ("visit 1 0 1.0 0.1 0", "end 0"),
        ("end 0", "visit 0 0 1.0 0.1 0"),
        ("end 0", "end 0"),
    ],
)
def test_a_line_that_cannot_follow_the_others_is_refused(before: str, line: str) -> None:
    with pytest.raises(DeviceError, match="no answer of our runner"):
        read(HEAD, f"{before}\n", f"{line}\n")


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=3))
def test_no_text_at_all_makes_a_time_that_is_none(lines: list[str]) -> None:
    """Whatever stands in a file is understood or refused; what is understood can be computed with."""
    try:
        answer = read(HEAD, "".join(f"visit 0 {line}\n" for line in lines))
    except DeviceError:
        return
    assert all(0 < visit.ms < math.inf and 0 < visit.sentinel_ms < math.inf for _, _, visit in answer.visits)


@pytest.mark.parametrize(
    ("line", "why"), [("refused the sentinel: no", "the sentinel: no"), ("refused", "no reason given")]
)
def test_a_refusal_says_why(line: str, why: str) -> None:
    assert read(HEAD, f"{line}\n").refused == why
