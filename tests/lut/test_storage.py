"""A log gives back what was put in, however it was cut off, and refuses what is not its own."""

import json
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lut import storage
from lut.storage import RecordLog, TornRecordWarning, write_atomically
from profilers.errors import InvalidInputError

HEADER = {"format": "test-log", "version": 3, "device": "pixel"}
LINE_ENDS = "a\nb\r\n\x0b\x0c\x1c\x85\u2028 ü €"
RECORDS = [{"n": 1}, {"text": LINE_ENDS}, {"nested": {"list": [1.5, None, True]}}]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
records = st.dictionaries(st.text(), values, max_size=4)


def begin(path: Path, *written: dict) -> RecordLog:
    log = RecordLog.open(path, HEADER)
    for record in written:
        log.append(record)
    return log


def read(path: Path) -> RecordLog:
    return RecordLog.read(path, "test-log", 3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(records, max_size=5))
def test_what_was_appended_is_read_back(tmp_path: Path, written: list[dict]) -> None:
    path = tmp_path / "log.jsonl"
    path.unlink(missing_ok=True)
    log = begin(path, *written)
    assert log.records == written
    assert read(path).records == written and read(path).header == HEADER


def test_opening_again_goes_on_behind_what_is_there(tmp_path: Path) -> None:
    begin(tmp_path / "log", RECORDS[0])
    begin(tmp_path / "log", RECORDS[1])
    assert read(tmp_path / "log").records == RECORDS[:2]


def test_a_log_is_begun_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    begin(tmp_path / "a" / "b" / "log", RECORDS[0])
    assert read(tmp_path / "a" / "b" / "log").records == RECORDS[:1]


def test_a_torn_last_line_is_dropped_with_a_warning_and_cut_off_by_the_next_append(tmp_path: Path) -> None:
    path = tmp_path / "log"
    begin(path, *RECORDS)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 1 + len(RECORDS)
    for cut in range(ends[0], len(whole)):
        path.write_bytes(whole[:cut])
        complete = RECORDS[: sum(end <= cut for end in ends) - 1]
        if cut in ends:
            log = read(path)
        else:
            with pytest.warns(TornRecordWarning, match="cut off"):
                log = read(path)
        assert log.records == complete, cut
        log.append({"next": cut})
        assert read(path).records == [*complete, {"next": cut}], cut


def test_reading_a_torn_log_does_not_change_the_file(tmp_path: Path) -> None:
    begin(tmp_path / "log", *RECORDS)
    torn = (tmp_path / "log").read_bytes()[:-4]
    (tmp_path / "log").write_bytes(torn)
    with pytest.warns(TornRecordWarning):
        read(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == torn


def test_a_log_cut_within_its_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    begin(path)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(InvalidInputError, match="is no test-log file"):
            RecordLog.open(path, HEADER)
        assert path.read_bytes() == whole[:cut]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"format":"other","version":3}\n', "is no test-log file"),
        (b'{"version":3}\n', "is no test-log file"),
        (b'{"format":"test-log","version":4}\n', "has format version 4; this hwnas reads version 3"),
        (b'{"format":"test-log"}\n', "has format version None"),
        (b"PNG\x00\xff\n", "line 1: not JSON"),
        (b"[1, 2]\n", "line 1: not a record"),
    ],
)
def test_a_file_of_another_format_or_version_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=complaint) as refused:
        RecordLog.open(path, HEADER)
    assert str(path) in str(refused.value) and refused.value.exit_code == 3
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [b"garbage", b"", b"[1]", b'"text"', b'{"n":', b"\xff\xfe", b"\x00" * 9, b"[" * 100_000, b'{"n":' + b"9" * 5000],
)
@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_damaged_line_is_refused_with_its_number(tmp_path: Path, damage: bytes, number: int) -> None:
    path = tmp_path / "log"
    begin(path, *RECORDS)
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InvalidInputError, match=f"line {number}: not"):
        read(path)


def test_a_log_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read(path)


def test_a_second_writer_is_refused_at_once_and_the_next_one_let_in(tmp_path: Path) -> None:
    first, second = begin(tmp_path / "log"), begin(tmp_path / "log")
    with first.writing():
        with pytest.raises(InvalidInputError, match="being written by another hwnas process"), second.writing():
            pytest.fail("two writers at once")
        first.append(RECORDS[0])
    with second.writing() as log:
        log.append(RECORDS[1])


def test_a_writer_keeps_what_another_process_appended_since_it_read(tmp_path: Path) -> None:
    first, second = begin(tmp_path / "log", RECORDS[0]), begin(tmp_path / "log")
    with second.writing():
        second.append(RECORDS[1])
    with first.writing():
        assert first.records == RECORDS[:2]
        first.append(RECORDS[2])
    assert read(tmp_path / "log").records == RECORDS


def test_the_right_to_write_is_the_processs_whichever_of_its_threads_appends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "BEGINNING_S", 0.0)
    log = begin(tmp_path / "log")
    with log.writing(), ThreadPoolExecutor(1) as pool:
        pool.submit(log.append, RECORDS[0]).result(timeout=60)
    assert read(tmp_path / "log").records == RECORDS[:1]


def test_a_log_that_was_taken_away_is_named_by_the_next_append(tmp_path: Path) -> None:
    log = begin(tmp_path / "log", RECORDS[0])
    (tmp_path / "log").unlink()
    with pytest.raises(InvalidInputError, match="log cannot be written: No such file"):
        log.append(RECORDS[1])
    assert log.records == RECORDS[:1] and not (tmp_path / "log").exists()


def test_a_log_is_read_again_only_where_others_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = begin(tmp_path / "log"), begin(tmp_path / "log")
    times_read, read_bytes = [], storage.read_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda *given: times_read.append(given) or read_bytes(*given))
    for record in RECORDS:
        first.append(record)
    assert not times_read
    second.append({"n": 2})
    second.append({"n": 3})
    assert len(times_read) == 1 and second.records == [*RECORDS, {"n": 2}, {"n": 3}]


def test_a_lock_that_cannot_be_had_is_an_error_of_the_log(tmp_path: Path) -> None:
    log = begin(tmp_path / "log", RECORDS[0])
    (tmp_path / "log.lock").unlink(missing_ok=True)
    (tmp_path / "log.lock").mkdir()
    for write in (lambda: log.append(RECORDS[1]), lambda: log.writing().__enter__()):
        with pytest.raises(InvalidInputError, match="log cannot be written: Is a directory"):
            write()
    assert read(tmp_path / "log").records == RECORDS[:1]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_kept_and_leaves_the_log_as_it_is(tmp_path: Path, number: float) -> None:
    log = begin(tmp_path / "log", RECORDS[0])
    with pytest.raises(InvalidInputError, match="a record with an infinite number, or none"):
        log.append({"deep": [{"n": number}]})
    log.append(RECORDS[1])
    assert read(tmp_path / "log").records == log.records == RECORDS[:2]


def test_the_right_to_write_ends_with_an_error_in_between(tmp_path: Path) -> None:
    first, second = begin(tmp_path / "log"), begin(tmp_path / "log")
    with pytest.raises(RuntimeError), first.writing():
        raise RuntimeError
    with second.writing():
        second.append(RECORDS[0])


@given(content=st.binary(max_size=2000), before=st.none() | st.binary(max_size=2000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_written_atomically_holds_the_new_content_and_leaves_nothing_beside(
    tmp_path: Path, content: bytes, before: bytes | None
) -> None:
    path = tmp_path / "folder" / "file"
    path.unlink(missing_ok=True)
    if before is not None:
        write_atomically(path, before)
    write_atomically(path, content)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(InvalidInputError, match="cannot be written") as refused:
        write_atomically(tmp_path / "file" / "below", b"new")
    assert str(tmp_path / "file" / "below") in str(refused.value)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_line_is_plain_ascii_json_whatever_the_text(tmp_path: Path) -> None:
    begin(tmp_path / "log", {"text": LINE_ENDS})
    lines = (tmp_path / "log").read_bytes().decode("ascii").splitlines()
    assert len(lines) == 2 and json.loads(lines[1]) == {"text": LINE_ENDS}


def test_reading_a_whole_log_warns_of_nothing(tmp_path: Path) -> None:
    begin(tmp_path / "log", *RECORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "log")
