"""Every error a user can meet, each with the exit code the command line ends with.

    HwnasError
    ├── InvalidInputError       3  a file or a value that cannot be used
    │   └── UnknownNameError    3  a name that nothing here answers to
    ├── DeviceError             4  the device or its runtime failed
    │   ├── UnauthorisedError   4  the device does not let us in, or is not the one it was
    │   ├── LostError           4  the connection to the device broke; trying again may help
    │   └── FailedModelsError   4  the runtime on the device cannot run some of the models
    ├── UntrustedError          5  the measurement does not support a promise
    └── InfeasibleError         6  no architecture meets the constraints

(0 is success, 2 a usage error found by the command-line parser, 130 an interruption by Ctrl-C.)
A message is one line: what happened, why, what to do.
"""

import difflib
from collections.abc import Iterable, Mapping

SHOWN_CHARS = 100  # of a value that a message quotes
MAX_CHARS = 3000  # of a message
LINE_CHARS = 300  # of what another library says


class HwnasError(Exception):
    """Something a user can act on; never raised for a bug."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())  # what it quotes from files and other libraries may have several
        super().__init__(line if len(line) <= MAX_CHARS else f"{line[:MAX_CHARS]}…")


class InvalidInputError(HwnasError):
    """A file or a value cannot be used."""

    exit_code = 3


class UnknownNameError(InvalidInputError):
    """A name that nothing answers to; the message lists what there is, and ends with what was meant, perhaps."""

    def __init__(self, kind: str, name: str, known: Iterable[str], meant: str = "") -> None:
        listed = sorted(known)
        meant = meant or nearest(name, listed)
        hint = f"; did you mean {meant}?" if meant else ""
        super().__init__(f"unknown {kind} {shown(name)}: there is {', '.join(listed) or 'none'}{hint}")


_OTHER_NAMES = {
    "litert": ("tflite", "tf-lite", "tensorflow-lite", "lite", "tensorflow"),
    "onnxruntime": ("onnx", "ort", "onnx-runtime"),
    "torch": ("pytorch",),
    "torch-cuda": ("cuda", "gpu", "pytorch-cuda", "tensorrt"),
    "openvino": ("ov", "ovms"),
    "tflite": ("litert", "lite"),
    "fp32": ("float", "float32", "f32", "single"),
    "int8": ("i8", "s8", "qint8", "quantized", "uint8"),
    "digit-pairs": ("mnist", "digits"),
    "ofa": ("once-for-all", "onceforall"),
    "ofa-mbv3": ("ofa", "mbv3", "mobilenetv3", "mobilenet-v3"),
    "ofa-proxyless": ("ofa-proxylessnas",),
    "proxyless": ("proxylessnas",),
    "adamw": ("adam",),
}  # which are spelled too differently to be found by their letters


def nearest(name: str, known: Iterable[str]) -> str:
    """That of the known names which somebody who wrote `name` probably meant; empty where there is none."""
    wanted = name.strip().lower().replace("_", "-")
    spelled = {one.lower(): one for one in known}
    for lower, one in spelled.items():
        if wanted in _OTHER_NAMES.get(lower, ()):
            return one
    close = difflib.get_close_matches(wanted, spelled, 1, 0.6)
    return spelled[close[0]] if close else ""


class DeviceError(HwnasError):
    """The device, or the runtime on it, failed."""

    exit_code = 4


class UnauthorisedError(DeviceError):
    """The device does not let us in, or cannot show that it is the one we know: its owner has to act."""


class LostError(DeviceError):
    """The device went away, or did not answer in time: what was asked of it may succeed later."""


class FailedModelsError(DeviceError):
    """The runtime refuses some models, or dies of them, while the others were measured; `models` says why by name."""

    def __init__(self, device: str, models: Mapping[str, str]) -> None:
        name, why = next(iter(models.items()))
        more = f" (and {len(models) - 1} more)" if len(models) > 1 else ""
        super().__init__(f"{device} cannot run {name}{more}: {why}; everything else was measured and is kept")
        self.models = dict(models)


class UntrustedError(HwnasError):
    """What was measured does not support the promise asked for."""

    exit_code = 5


class InfeasibleError(HwnasError):
    """No architecture of the space meets the constraints; `least` is the least attainable value."""

    exit_code = 6

    def __init__(self, message: str, least: float) -> None:
        super().__init__(message)
        self.least = least


def first_line(error: Exception) -> str:
    """What an error of another library says, to be quoted in ours: its first line, or its name if it says nothing."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}…"


def shown(value: object) -> str:
    """A value from a file as an error message quotes it: on one line, escaped, cut off where it is long."""
    if isinstance(value, dict | list | tuple | set):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value[: SHOWN_CHARS + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
