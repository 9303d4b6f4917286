"""The command line. Only this package prints, reads the environment, or decides an exit code."""

import signal
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from profilers.errors import HwnasError

INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM; no `except Exception` on the way takes it for an error of its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; every error becomes one line on stderr here, and only here."""
    show = warnings.showwarning
    warnings.showwarning = _one_line  # type: ignore[assignment]  # takes what it needs, ignores the rest
    handlers = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        from hwnas.cli.commands import app

        app(list(arguments) if arguments is not None else None, prog_name="hwnas")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except HwnasError as error:
        print(f"hwnas: {error}", file=sys.stderr)
        return error.exit_code
    except _Interrupted:
        print("hwnas: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        warnings.showwarning = show
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise _Interrupted


def _one_line(message: Warning | str, *_: object) -> None:
    print(f"hwnas: note: {message}", file=sys.stderr)
