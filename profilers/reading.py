"""Reading files that anybody may have written: bounded in size, nesting and numbers, refused in one line.

`read_json`, `parse_toml` and `read_yaml_pairs` give plain values without NaN, infinities, integers beyond 64 bits or
text that cannot be encoded. `Fields` reads typed values out of a record and names key and file where one is wrong.
Everything here raises InvalidInputError, and nothing else, whatever the bytes are.
"""

import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from profilers.errors import InvalidInputError, first_line, shown

MAX_BYTES = 64 << 20  # of a file of text; tables as others publish them have 1 MB
MAX_TOML_BYTES = 256 << 10
MAX_NESTING = 64
MAX_INTEGER = 2**63 - 1
MAX_SCALAR_CHARS = 4096  # of one YAML value: its numbers in base 60 take quadratic time
BRACKETS = b"[]{}"
NO_BRACKETS = bytes(set(range(256)) - set(BRACKETS))
STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where PyYAML was built with it


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a regular file of at most `max_bytes`; raises InvalidInputError, also for a pipe or a folder."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InvalidInputError(f"{path} cannot be read: it is no regular file")
            content = file.read() if found.st_size <= max_bytes else b""
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        why = error.strerror if isinstance(error, OSError) else first_line(error)
        raise InvalidInputError(f"{path} cannot be read: {why}") from error
    if max(found.st_size, len(content)) > max_bytes:
        raise InvalidInputError(f"{path} cannot be read: it has more than {max_bytes >> 10} KiB")
    return content


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a JSON file; raises InvalidInputError."""
    return parse_json(read_bytes(path, max_bytes), str(path))


def parse_json(content: bytes | str, source: str) -> Any:
    """The value of a JSON text; `source` says in messages where it is from. Raises InvalidInputError."""
    try:
        return plain_json(content)
    except ValueError as error:
        raise InvalidInputError(f"{source} cannot be read as JSON: {first_line(error)}") from error


def plain_json(content: bytes | str) -> Any:
    """The value of a JSON text; raises ValueError, and nothing else, where it is none or not plain."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        if _too_deep(text.encode("utf-8", "replace")):
            raise ValueError(f"it nests deeper than {MAX_NESTING} levels")
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_no_constant)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error
    return value


def parse_toml(content: bytes, source: str) -> dict[str, Any]:
    """The value of a TOML text; `source` says in messages where it is from. Raises InvalidInputError."""
    try:
        if any(line.count(b".") > MAX_NESTING for line in content.splitlines()):
            raise ValueError("it nests too deeply")  # keys of many parts take tomllib quadratic time
        value = tomllib.loads(content.decode("utf-8"))
        _check_plain(value)
    except UnicodeError as error:
        raise InvalidInputError(f"{source} cannot be read as TOML: it is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        why = "it nests too deeply" if isinstance(error, RecursionError) else first_line(error)
        if "integer string conversion" in why:
            why = "it has an integer that is too large"
        raise InvalidInputError(f"{source} cannot be read as TOML: {why}") from error
    return value


def read_yaml_pairs(path: Path) -> list[tuple[str, Any]]:
    """Keys and values of the one mapping in a YAML file, in order; a key that is there twice comes twice.

    Raises InvalidInputError, also for anchors that are used within others: these can expand without bound.
    """
    content = read_bytes(path)
    try:
        _check_yaml_events(content)
        loader = YAML_LOADER(content)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ValueError("it has no keys")
        pairs = [(str(key.value), loader.construct_object(value, deep=True)) for key, value in node.value]
        for key, value in pairs:
            _check_plain(value, source=f"{shown(key)}: ")
    except Exception as error:  # PyYAML's constructors have no common type for what they raise
        why = (
            first_line(error) if isinstance(error, ValueError | yaml.YAMLError) else "a value is not what its tag says"
        )
        raise InvalidInputError(f"{path} cannot be read as YAML: {why}") from error
    return pairs


@dataclass(frozen=True)
class Fields:
    """A record with the place it was read from; accessors check types and raise InvalidInputError with both named."""

    values: Mapping[str, Any]
    source: str

    @classmethod
    def of(cls, value: Any, source: str) -> "Fields":
        """`value`, which must be a record (a JSON object, a TOML section)."""
        if not isinstance(value, Mapping):
            raise InvalidInputError(f"{source} must be a record with keys, not {shown(value)}")
        return cls(value, source)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def number(self, key: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number from `least` to `most`."""
        value = self._present(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, "a number")
        if not least <= value <= most:
            raise self.wrong(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def integer(self, key: str, least: int = -MAX_INTEGER, most: int = MAX_INTEGER) -> int:
        """A whole number from `least` to `most`."""
        value = self._present(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            between = f" from {least} on" if most == MAX_INTEGER else f" from {least} to {most}"
            raise self.wrong(key, "a whole number" + (between if (least, most) != (-MAX_INTEGER, MAX_INTEGER) else ""))
        return value

    def text(self, key: str) -> str:
        """A string."""
        value = self._present(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._present(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def record(self, key: str) -> "Fields":
        """A record within this one."""
        value = self._present(key)
        if not isinstance(value, Mapping):
            raise self.wrong(key, "a record with keys")
        return Fields(value, f"{key} of {self.source}")

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self._present(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value

    def numbers(self, key: str) -> list[float]:
        """A list of finite numbers."""
        value = self.items(key)
        if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in value):
            raise self.wrong(key, "a list of numbers")
        return [float(n) for n in value]

    def wrong(self, key: str, wanted: str) -> InvalidInputError:
        """The error for a key that is not what is `wanted`."""
        return InvalidInputError(f"{key} of {self.source} must be {wanted}, not {shown(self.values[key])}")

    def _present(self, key: str) -> Any:
        if key not in self.values:
            raise InvalidInputError(f"{self.source} has no {key}")
        return self.values[key]


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise ValueError(f"an integer of {len(digits)} digits is too large")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is too large a number")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _too_deep(content: bytes) -> bool:
    """Whether the brackets of a JSON text nest deeper than MAX_NESTING; brackets within strings do not count."""
    brackets = content.translate(None, NO_BRACKETS)
    for _ in range(MAX_NESTING):  # each pass takes off the innermost level: no loop over the characters of large files
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    depth = 0
    for match in STRING_OR_BRACKET.finditer(content):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > MAX_NESTING:
            return True
    return False


def _check_plain(value: Any, depth: int = 0, source: str = "") -> None:
    """Raise ValueError, which begins with `source`, for numbers and nesting that JSON would be refused for."""
    if depth > MAX_NESTING:
        raise ValueError(f"{source}it nests deeper than {MAX_NESTING} levels")
    if isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_plain(inner, depth + 1, source)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{source}{value} is no finite number")
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"{source}{shown(value)} is too large")


def _check_yaml_events(content: bytes) -> None:
    """Raise ValueError for nesting, anchors and keys that take more time or memory than the file's size lets expect."""
    depth, anchors_open = 0, list[int]()  # depths at which collections with an anchor began
    for event in _yaml_events(content):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_NESTING:
                raise ValueError(f"it nests deeper than {MAX_NESTING} levels")
            if event.anchor:
                anchors_open.append(depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            if anchors_open and anchors_open[-1] == depth:
                anchors_open.pop()
            depth -= 1
        elif isinstance(event, yaml.AliasEvent) and anchors_open:
            raise ValueError("it has an anchor within another")
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_SCALAR_CHARS:
                raise ValueError(f"it has a value of more than {MAX_SCALAR_CHARS} characters")
            if event.value == "<<" and event.implicit[0]:
                raise ValueError("it merges mappings (<<), which is not read here")


def _yaml_events(content: bytes) -> Iterator[Any]:
    """Parsing events; in the first mapping a key that is no plain value is refused."""
    depth, key_next = 0, True
    for event in yaml.parse(content, Loader=YAML_LOADER):
        if isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent | yaml.AliasEvent) and depth == 1:
            if key_next and not isinstance(event, yaml.ScalarEvent):
                raise ValueError("one of its keys is no plain text")
            key_next = not key_next
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        yield event
