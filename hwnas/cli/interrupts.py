"""Ctrl-C, SIGTERM and SIGHUP: a command clears up, once, however often it is told to end, and says one line.

A signal raises `Interrupted` in the main thread. Further ones change nothing while that is on its way out: threads are
waited for, locks given back, temporary folders removed. Cutting this short leaves threads within C++ code behind, which
abort the process (exit code 134). Who has waited long enough ends the program at once by one more signal.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from hwnas.cli.output import say

INTERRUPTED: Final = 130  # what shells report for a program ended by Ctrl-C; the same for all three signals
PATIENCE_S = 10.0  # for which a program may clear up, whatever it is sent
SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # not all on Windows
)


class Interrupted(BaseException):
    """A signal to end came; no `except Exception` on the way takes it for an error of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.at = time.monotonic()


def until_interrupted(run: Callable[[], int], *, ends: bool) -> int:
    """What `run` returns, or INTERRUPTED if a signal came; where the process `ends` then, it hears no more of them."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in before.items():
            if number != getattr(signal, "SIGHUP", None) or handler is not signal.SIG_IGN:  # nohup has it ignored
                signal.signal(number, _hear)
        code = run()
        _give_back(before)
        return code
    except BaseException as error:
        if interruption_in(error) is None:
            _give_back(before)
            raise
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        say("hwnas: interrupted; what was finished is kept, the same command goes on from there")
        if not ends:
            _give_back(before)
        return INTERRUPTED


def interruption_in(error: BaseException | None) -> Interrupted | None:
    """The interruption that an error is, or that was under way when it was raised."""
    seen: set[int] = set()
    while error is not None and not isinstance(error, Interrupted) and id(error) not in seen:
        seen.add(id(error))
        error = error.__context__
    return error if isinstance(error, Interrupted) else None


def _hear(*_: object) -> None:
    under_way = interruption_in(sys.exception())
    if under_way is None:
        raise Interrupted
    if time.monotonic() - under_way.at > PATIENCE_S:
        say("hwnas: ended at once; a device may be busy for some minutes yet")
        os._exit(INTERRUPTED)


def _give_back(handlers: dict[Any, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None:  # one that was not made by Python cannot be put back
            signal.signal(number, handler)
