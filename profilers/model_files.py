"""Model files of the user's own, made ready to be measured: read whole, checked, and every shape fixed.

Runtimes measure what has one shape. Where only the batch is open, it becomes 1; what else is open is refused by name.
"""

from pathlib import Path

from profilers import backends
from profilers.errors import InvalidInputError
from profilers.formats import ModelFile

LARGEST_BYTES = 2**31  # what a protocol buffer holds at most
_TFLITE_MARK = b"TFL3"  # from byte 4 on


def read_model(path: Path) -> ModelFile:
    """An ONNX or TFLite file with fixed shapes; raises InvalidInputError for what cannot be measured, and says why."""
    format = path.suffix.removeprefix(".").lower()
    if format not in ("onnx", "tflite"):
        raise InvalidInputError(f"{path} is no model file that can be measured: its name must end in .onnx or .tflite")
    try:
        if not path.is_file():
            raise InvalidInputError(f"{path} is {'no file' if path.exists() else 'not there'}")
        if path.stat().st_size > LARGEST_BYTES:
            raise InvalidInputError(
                f"{path} has more than {LARGEST_BYTES / 1e9:.0f} GB: no runtime here takes it whole"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
    if format == "onnx":
        from profilers.formats._onnx_reading import fixed_onnx  # with onnx

        return ModelFile(format, fixed_onnx(content, path))
    if content[4:8] != _TFLITE_MARK:
        raise InvalidInputError(f"{path} is no TFLite model, or damaged: its first bytes are not those of one")
    return ModelFile(format, content)


def check_taken(path: Path, model: ModelFile, runtime: str) -> None:
    """Raise InvalidInputError if a runtime takes files of another format, and name those that take this one."""
    takes = backends.load(runtime).FORMAT
    if model.format != takes:
        others = [name for name in backends.names() if name != backends.FOR_TESTS]
        fitting = " or ".join(name for name in others if model.format == backends.load(name).FORMAT)
        raise InvalidInputError(
            f"{path} is a {model.format} file, and {runtime} takes {takes}: give --runtime {fitting}"
        )
