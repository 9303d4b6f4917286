"""Text on its way to stdout and stderr: nothing in it can command a terminal, and no stream fails on a character."""

import codecs
import contextlib
import os
import sys
from collections.abc import Callable
from typing import TextIO

BROKEN_PIPE = 141  # what shells report for a program whose reader went away, as `head` does
_SPELLED = {"±": "+/-", "…": "...", "→": "->", "µ": "u"}  # the few that we print ourselves


class UnwritableError(Exception):
    """Stdout does not take what is printed; `exit_code` is what the command ends with."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout takes no more of what is printed: {error.strerror}")
        self.broken_pipe = isinstance(error, BrokenPipeError)
        self.exit_code = BROKEN_PIPE if self.broken_pipe else 3


def printable(text: str) -> str:
    """One line that is safe to show: what is no printable character is spelled as Python spells it, ESC as `\\x1b`.

    Names from folders, files, devices and other people's JSON come through here, whoever prints them: line breaks,
    escape sequences, marks that turn the direction of writing, halves of characters.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def on_stdout(text: str) -> str:
    """The same, spelled as far as stdout's encoding needs it: for what is to stand in columns."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "hwnas").decode(encoding)


def out(line: str = "") -> None:
    """Print one line of a result; raises UnwritableError."""
    write_out(printable(line) + "\n")


def write_out(text: str) -> None:
    """Print text that holds nothing unprintable but what we put there; raises UnwritableError."""
    try:
        if sys.stdout is not None:  # as it is where the shell has closed it
            sys.stdout.write(text)
    except OSError as error:
        raise UnwritableError(error) from error


def flush_out() -> None:
    """Wait until stdout has taken everything; raises UnwritableError, after which nothing more is tried."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise UnwritableError(error) from error


def give_up_stdout() -> None:
    """Send what stdout still holds nowhere, or Python tries again at its exit and complains."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def say(text: str) -> None:
    """Tell the user what happens; on stderr, so that stdout is the result alone."""
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more: no reason to stop measuring
        if sys.stderr is not None:
            print(printable(text), file=sys.stderr, flush=True)


def say_of(name: str) -> Callable[[str], None]:
    """Tells the user what happens with one of several devices."""
    return lambda text: say(f"{name}: {text}")


def spell_out_what_streams_lack() -> None:
    """Let stdout and stderr take every character: in ASCII where the terminal's or the pipe's encoding has none."""
    codecs.register_error("hwnas", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="hwnas")


def speaks_unicode(stream: TextIO | None) -> bool:
    """Whether lines and boxes can be drawn with the characters that Unicode has for them."""
    return stream is None or (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    spelled = (_SPELLED.get(c, c.encode("ascii", "backslashreplace").decode()) for c in lacking)
    return "".join(spelled), error.end
