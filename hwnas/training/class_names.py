"""Names of classes, as data sets have them: they become lines of a bundle's labels.txt and are shown on terminals."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from profilers.errors import InvalidInputError

SHOWN: Final = 5
FORBIDDEN: Final = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of a pair, ends of lines and paragraphs


def check_class_names(classes: Sequence[str], where: str) -> None:
    """Raise InvalidInputError, which says `where` they are from, unless these are two or more names, each once.

    A name must have characters, and none that ends a line, commands a terminal, or cannot be encoded.
    """
    for name in classes:
        if not name.strip() or any(unicodedata.category(character) in FORBIDDEN for character in name):
            raise InvalidInputError(
                f"{where}: {name!a} cannot be the name of a class, because it is empty or has a control character, an "
                "end of line or bytes that are not UTF-8: rename it"
            )
    if len(classes) < 2:
        what = f"only one class, {classes[0]}" if classes else "no classes"
        raise InvalidInputError(f"{where} has {what}: two or more are wanted")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise InvalidInputError(f"{where} does not name its classes each once: {listed(twice)} is there more than once")


def listed(names: Iterable[str]) -> str:
    """The first few of some names, and how many there are besides."""
    found = list(names)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
