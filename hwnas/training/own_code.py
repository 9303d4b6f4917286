"""What a user's own code raises, as one line that says where: its author needs the place, not our part of the way."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from profilers.errors import HwnasError, InvalidInputError, first_line


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Raise InvalidInputError, which names `what`, the file and the line, for what is raised within."""
    try:
        yield
    except HwnasError:
        raise
    except Exception as error:  # anything, as it is anybody's code
        why = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
        raise InvalidInputError(f"{what} raised {why} ({_place(error)})") from error


def _place(error: Exception) -> str:
    """The file and line that raised, of installed packages the line that called them."""
    frames = traceback.extract_tb(error.__traceback__)[1:] or traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    own = [frame for frame in frames if "site-packages" not in frame.filename and "<frozen" not in frame.filename]
    frame = (own or list(frames))[-1]
    return f"{frame.filename}, line {frame.lineno}"
