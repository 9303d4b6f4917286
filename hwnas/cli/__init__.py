"""The command line. Only this package prints, reads the environment, or decides an exit code."""

import errno
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from hwnas.cli.interrupts import INTERRUPTED, interruption_in, until_interrupted
from hwnas.cli.output import UnwritableError, flush_out, give_up_stdout, say, spell_out_what_streams_lack
from hwnas.workflows.requirements import advice
from profilers.errors import HwnasError, InvalidInputError

WRONG_USAGE = 2
_MEANT = re.compile(r"\.? \(Possible options: (.*)\)$|\. Did you mean (.*)\?$")  # as typer puts it
_OF_STREAMS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; every error becomes one line on stderr here, and only here."""
    return until_interrupted(lambda: _answered(arguments), ends=arguments is None)


def _answered(arguments: Sequence[str] | None) -> int:
    show = warnings.showwarning
    warnings.showwarning = _one_line  # type: ignore[assignment]  # takes what it needs, ignores the rest
    spell_out_what_streams_lack()
    try:
        code = _run(arguments)
        flush_out()
        return code
    except HwnasError as error:
        if interruption_in(error):
            raise
        if not _one_of_many():
            say(f"hwnas: {error}")
        return error.exit_code
    except ModuleNotFoundError as error:
        if _one_of_many() or not (told := advice(error.name or "")):
            raise
        say(f"hwnas: {told}")
        return InvalidInputError.exit_code
    except UnwritableError as error:
        give_up_stdout()
        if interruption_in(error):
            raise
        if not error.broken_pipe:
            say(f"hwnas: {error}")
        return error.exit_code
    finally:
        warnings.showwarning = show


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; returns its exit code, also of wrong usage, which is told in one line like all that is wrong."""
    from typer import BadParameter

    from hwnas.cli.commands import app

    usage_error: Any = next(
        base for base in BadParameter.__mro__ if base.__name__ == "ClickException"
    )  # a private name
    words = list(arguments) if arguments is not None else None
    try:
        code = app(words, prog_name="hwnas", standalone_mode=False)
    except SystemExit as end:
        if interruption_in(end):
            return INTERRUPTED
        return end.code if isinstance(end.code, int) else 0
    except usage_error as error:
        return _wrong_usage(error)
    except OSError as error:
        if error.filename is not None or error.errno not in _OF_STREAMS:
            raise
        raise UnwritableError(error) from error  # of help, which typer prints
    return code if isinstance(code, int) else 0


def _wrong_usage(error: Any) -> int:
    told, context = error.format_message().removeprefix("Invalid value: "), getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        if told:
            print(told, file=sys.stderr)
        return WRONG_USAGE
    command = context.command_path if context else "hwnas"
    wrong, _, meant = _MEANT.sub(lambda found: f"\n{found[1] or found[2]}", told).rstrip(".?").partition("\n")
    hint = f"; did you mean {meant}?" if meant else ""
    say(f"hwnas: {wrong[:1].lower()}{wrong[1:].rstrip('.')}; see {command} --help{hint}")
    return WRONG_USAGE


def _one_of_many() -> bool:
    """Whether this is one of torchrun's processes that does not speak: they have not joined yet, for which torch is."""
    return os.environ.get("RANK", "0") != "0" and "torch" not in sys.modules


def _one_line(message: Warning | str, *_: object) -> None:
    say(f"hwnas: note: {message}")
