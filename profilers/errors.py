"""Every error a user can meet, each with the exit code the command line ends with.

    HwnasError
    ├── InvalidInputError       3  a file or a value that cannot be used
    │   └── UnknownNameError    3  a name that nothing here answers to
    ├── DeviceError             4  the device or its runtime failed
    ├── UntrustedError          5  the measurement does not support a promise
    └── InfeasibleError         6  no architecture meets the constraints

(0 is success, 2 a usage error found by the command-line parser, 130 an interruption by Ctrl-C.)
A message is one line: what happened, why, what to do.
"""

from collections.abc import Iterable


class HwnasError(Exception):
    """Something a user can act on; never raised for a bug."""

    exit_code = 1


class InvalidInputError(HwnasError):
    """A file or a value cannot be used."""

    exit_code = 3


class UnknownNameError(InvalidInputError):
    """A name that nothing answers to; the message lists what there is."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}: there is {', '.join(sorted(known)) or 'none'}")


class DeviceError(HwnasError):
    """The device, or the runtime on it, failed."""

    exit_code = 4


class UntrustedError(HwnasError):
    """What was measured does not support the promise asked for."""

    exit_code = 5


class InfeasibleError(HwnasError):
    """No architecture of the space meets the constraints; `least` is the least attainable value."""

    exit_code = 6

    def __init__(self, message: str, least: float) -> None:
        super().__init__(message)
        self.least = least
