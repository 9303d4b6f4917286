"""Readers of JSON, TOML and YAML take what is plain and bounded, and refuse anything else in one line, at once."""

import os
import time
from pathlib import Path

import pytest

from profilers.errors import InvalidInputError, shown
from profilers.reading import (
    MAX_TOML_BYTES,
    Fields,
    parse_json,
    parse_toml,
    read_bytes,
    read_json,
    read_yaml_pairs,
)

DEEP = 100_000


def explosive(key: str, value: str) -> str:
    """YAML in which each anchor holds the one before three times: 3 to the 40th when expanded."""
    names = "".join(f"{key}\n".format(i=i, inner=", ".join([f"*a{i - 1}"] * 3)) for i in range(1, 40))
    return value + names


def refusal(read, content: str | bytes, tmp_path: Path) -> str:
    path = tmp_path / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    started = time.monotonic()
    with pytest.raises(InvalidInputError) as raised:
        read(path)
    assert time.monotonic() - started < 20  # where the fault is there, it never ends
    message = str(raised.value)
    assert str(path) in message and "\n" not in message and len(message) < 400 + len(str(path))
    return message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[" * DEEP, "nests deeper"),
        ('{"a":' * DEEP, "nests deeper"),
        ('[{"a":"]"},' * DEEP, "nests deeper"),
        ("[" + "9" * 5000 + "]", "5000 digits"),
        (str(2**63), "19 digits"),
        ("1e999", "too large"),
        ("[NaN]", "NaN"),
        ("-Infinity", "Infinity"),
        ('"\\ud800"', "UTF-8"),
        (b'"\xff"', "UTF-8"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_not_plain_is_refused(tmp_path: Path, content: str | bytes, why: str) -> None:
    assert why in refusal(read_json, content, tmp_path)


def test_plain_json_is_read_as_it_is() -> None:
    text = '{"a": [1, 2.5, -9223372036854775807, null, true], "b": "[[[[ \\" {{{ \\ud83d\\ude00"}'
    assert parse_json(text, "x") == {"a": [1, 2.5, 1 - 2**63, None, True], "b": '[[[[ " {{{ \U0001f600'}
    assert parse_json('{"a":"' + "[" * 1000 + '"}', "x") == {"a": "[" * 1000}
    assert parse_json("[" * 64 + "]" * 64, "x")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a = " + "[" * DEEP, "nests too deeply"),
        ("a = " + "{a=" * 50_000, "nests too deeply"),
        ("[" + "a." * 50_000 + "a]", "nests too deeply"),
        ("a = " + "9" * 5000, "too large"),
        ("a = " + "9" * 1000, "too large"),
        ("a = inf", "no finite number"),
        ("a = 1\na = 2", "overwrite"),
        (b"a = '\xff'", "UTF-8"),
        ("#" * (257 << 10), "more than 256 KiB"),
    ],
)
def test_toml_that_is_not_plain_is_refused(tmp_path: Path, content: str | bytes, why: str) -> None:
    assert why in refusal(lambda path: parse_toml(read_bytes(path, MAX_TOML_BYTES), str(path)), content, tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (explosive("k{i}: &a{i} [{inner}]", "k0: &a0 [x, x]\n"), "anchor within another"),
        (explosive("? &a{i} [{inner}]\n: 1", "? &a0 [x, x]\n: 1\n"), "no plain text"),
        (explosive("k{i}: &a{i} {{<<: [{inner}]}}", "k0: &a0 {x: 1}\n"), "<<"),
        ("a: &a [*a]", "anchor within another"),
        ("a: " + "[" * DEEP, "nests deeper"),
        ("a: " + "9" * 4000, "too large"),
        ("a: " + "9" * 5000, "characters"),
        ("a: " + "59:" * 1000 + "59", "too large"),
        ("a: .nan", "no finite number"),
        ("a: !!timestamp x", "not what its tag says"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("- 1", "has no keys"),
        ("a: \x00", "control characters"),
    ],
)
def test_yaml_that_is_not_plain_is_refused(tmp_path: Path, content: str, why: str) -> None:
    assert why in refusal(read_yaml_pairs, content, tmp_path)


def test_pairs_of_yaml_come_in_order_doubles_and_plain_anchors_included(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("b: &x {mean: 1.5}\na: *x\nb: 2\n1: [q]\n")
    pairs = [("b", {"mean": 1.5}), ("a", {"mean": 1.5}), ("b", 2), ("1", ["q"])]
    assert read_yaml_pairs(tmp_path / "t.yaml") == pairs


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 2049)
    assert read_bytes(tmp_path / "large", 2049) == b"x" * 2049
    for path, why in [
        (tmp_path / "pipe", "no regular file"),
        (tmp_path, "directory"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "a\0b", "null"),
        (tmp_path / "large", "more than 2 KiB"),
    ]:
        with pytest.raises(InvalidInputError, match=why):
            read_bytes(path, 2048)


def test_fields_name_the_key_the_file_and_what_is_there() -> None:
    fields = Fields.of({"n": 3, "x": 1.5, "t": "a", "f": True, "r": {"y": "q\n" * 500}, "l": [1, 2.5]}, "b.json")
    assert (fields.integer("n"), fields.number("n"), fields.number("x"), fields.text("t")) == (3, 3.0, 1.5, "a")
    assert fields.flag("f") and fields.numbers("l") == [1.0, 2.5] and "n" in fields and "z" not in fields
    for wrong, message in [
        (lambda: fields.number("t"), "t of b.json must be a number, not 'a'"),
        (lambda: fields.number("f"), "f of b.json must be a number, not True"),
        (lambda: fields.number("x", 2, 3), "x of b.json must be a number from 2 to 3, not 1.5"),
        (lambda: fields.integer("x"), "x of b.json must be a whole number, not 1.5"),
        (lambda: fields.integer("n", least=4), "n of b.json must be a whole number from 4 on, not 3"),
        (lambda: fields.text("l"), "l of b.json must be a text, not a list of 2"),
        (lambda: fields.flag("n"), "f"),
        (lambda: fields.record("n"), "n of b.json must be a record with keys, not 3"),
        (lambda: fields.record("r").number("y"), "y of r of b.json must be a number, not 'q\\n"),
        (lambda: fields.numbers("r"), "r of b.json must be a list, not a dict of 1"),
        (lambda: fields.text("z"), "b.json has no z"),
        (lambda: Fields.of([1], "b.json"), "b.json must be a record with keys, not a list of 1"),
    ]:
        with pytest.raises(InvalidInputError) as raised:
            wrong()
        assert message in str(raised.value) and len(str(raised.value)) < 250 and "\n" not in str(raised.value)
    assert shown(10**400) == "an integer of 1329 bits"
