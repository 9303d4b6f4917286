"""What is printed is whole, commands no terminal, and fails on no stream; wrong usage is one line, too."""

import io
import json
import os
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.cli import display, main
from hwnas.cli.output import out, printable, say
from profilers.errors import InvalidInputError

pytestmark = pytest.mark.usefixtures("no_settings")

ESCAPES = "a\x1b]0;title\x07\x1b[2J\r\nb\u202ec\x9b31m\udc9b"
LONG = "a/path/" + "x" * 90 + "/end"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Called in a test, before anything is printed: stdout and stderr as a terminal of 80 columns without colours."""

    def opened() -> Terminal:
        stream = Terminal()
        for name, value in (("COLUMNS", "80"), ("LINES", "24"), ("TERM", "xterm"), ("NO_COLOR", "1")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return opened


def commands_in(text: str) -> list[str]:
    """The characters of a text that a terminal obeys, or that no terminal can show."""
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"]


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_printable_is_one_line_without_commands(text):
    assert printable(text).isprintable() and (printable(text) == text or not text.isprintable())


def test_names_from_elsewhere_command_no_terminal(capsys):
    out(ESCAPES)
    say(ESCAPES)
    display.show_table(ESCAPES, [ESCAPES, "b"], [[ESCAPES, "2"]])
    with display.ProgressDisplay() as progress:
        progress(ESCAPES, 1.0, ESCAPES)
    for text in capsys.readouterr():
        assert not commands_in(text) and r"a\x1b]0;title\x07\x1b[2J\r\nb\u202ec\x9b31m\udc9b" in text


def test_errors_and_warnings_are_one_line_whatever_they_quote(hwnas, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        with warnings.catch_warnings(action="always"):
            warnings.warn(ESCAPES, stacklevel=1)
        raise InvalidInputError(ESCAPES)

    monkeypatch.setattr("hwnas.cli.commands.app", fails)
    done = hwnas("devices")
    assert done.code == 3 and len(done.err.splitlines()) == 2 and not commands_in(done.err)


@pytest.mark.parametrize("name", ["w[bold]", "w[/]", "w[link=x]y", ":smile:"])
def test_names_are_no_markup(terminal, name):
    stream = terminal()
    display.show_table(name, [name, "b"], [[name, name]])
    with display.ProgressDisplay() as progress:
        progress(f"task {name}", 0.5, f"note {name}")
    text = stream.getvalue()
    assert text.count(name) >= 6 and f"task {name}" in text and f"note {name}" in text


def test_a_table_in_a_pipe_is_neither_wrapped_nor_cut(capsys):
    display.show_table("t", ["name of the first", "path"], [["a", LONG * 20]])
    text, _ = capsys.readouterr()
    assert LONG * 20 in text and "name of the first" in text


def test_what_has_no_room_in_a_terminal_is_told_whole_below_the_table(terminal):
    stream = terminal()
    display.show_table("t", ["budget", "mean error of all", "bundle"], [["1 ms", "3 %", LONG], ["2 ms", "4 %", "b"]])
    table, _, below = stream.getvalue().partition("└")
    assert max(map(len, table.splitlines())) <= 80 and "mean error of all" in table
    assert below.splitlines()[1:] == [f"1 ms: {LONG}", "2 ms: b"]


def test_columns_of_a_crowded_table_are_told_by_their_names(terminal):
    stream = terminal()
    display.show_table("t", ["device", "machine", "advice"], [["pi", LONG, LONG[1:]], ["", "seen", "add"]])
    below = stream.getvalue().partition("└")[2].splitlines()[1:]
    assert below == [f"pi, machine: {LONG}", f"pi, advice: {LONG[1:]}", "machine: seen", "advice: add"]


def test_a_first_column_that_is_too_long_is_not_cut_either(terminal):
    stream = terminal()
    display.show_table("t", ["entry", "ms"], [[LONG, "1"]])
    assert LONG in stream.getvalue()


def test_progress_in_80_columns_shows_bar_percent_and_time_left(terminal):
    stream = terminal()
    with display.ProgressDisplay() as progress:
        for step in range(3):
            progress("a task with a name that is far too long for it", 0.4 + step / 10, "a note of many words " * 9)
    shown = stream.getvalue()
    (line,) = {line for line in shown.replace("\r", "\n").split("\n") if " 60 %" in line}
    assert "━" in line and "left" in line and "a task with a" in line and "a note of" in line


def run(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    hwnas = f"{sys.executable} -W error -m hwnas"
    return subprocess.run(
        ["bash", "-c", command.replace("HWNAS", hwnas)], capture_output=True, text=True, check=False,
        env=os.environ | env,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", ["--version", "--help", "devices", "devices --json"])
def test_a_full_disk_behind_stdout_is_told_in_one_line(arguments):
    done = run(f"HWNAS {arguments} >/dev/full")
    assert done.returncode == 3
    assert done.stderr == "hwnas: stdout takes no more of what is printed: No space left on device\n"


def test_a_reader_that_goes_away_is_no_error_to_talk_about():
    done = run('HWNAS devices --json | true; echo "${PIPESTATUS[0]}"')
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_closed_streams_change_nothing():
    done = run('HWNAS devices --json >&-; a=$?; HWNAS tabel 2>&-; b=$?; HWNAS tabel 2>/dev/full; echo "$a $b $?"')
    assert (done.stdout, done.stderr) == ("0 2 2\n", "")


def test_a_terminal_of_ascii_gets_ascii(tmp_path):
    done = run("HWNAS devices; HWNAS profile --runtime fäke", PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert done.stdout.isascii() and "| host" in done.stdout
    assert done.stderr.isascii() and done.stderr.startswith("hwnas: unknown runtime 'f")


def test_figures_keep_their_signs_in_ascii(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["--version"]) == 0
    out("±3 % ☃")
    display.show_table("t", ["a", "b"], [["±1", "2"]])
    stream.flush()
    lines = stream.buffer.getvalue().decode("ascii").splitlines()
    assert r"+/-3 % \u2603" in lines and "| +/-1 | 2 |" in lines


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tabel",), "no such command 'tabel'; see hwnas --help; did you mean 'table'?"),
        (("profile", "--resolutoin", "3"), "no such option: --resolutoin; see hwnas profile --help; did you mean"),
        (("profile", "--quick", "--careful"), "--quick and --careful exclude each other; see hwnas profile --help"),
        (("export",), "missing option '--arch'; see hwnas export --help"),
        (("train", "--steps", "many"), "invalid value for '--steps': "),
        (("table", "dif\x1b[2Jf"), r"no such command 'dif\x1b[2Jf'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_one_line_that_says_where_to_look(hwnas, arguments, told):
    done = hwnas(*arguments)
    assert done.code == 2 and done.refusal.startswith(f"hwnas: {told}") and "--help" in done.refusal


@pytest.mark.parametrize("arguments", [(), ("table",), ("supernet",)], ids=" ".join)
def test_no_command_at_all_is_answered_with_help(hwnas, arguments):
    done = hwnas(*arguments)
    assert done.code == 2 and "Usage: hwnas" in done.out + done.err


def test_json_is_whole_and_ascii_whatever_the_terminal_is(terminal):
    stream = terminal()
    display.show_json({"path": LONG * 5, "name": ESCAPES})
    text = stream.getvalue()
    assert json.loads(text) == {"path": LONG * 5, "name": ESCAPES} and not commands_in(text)
