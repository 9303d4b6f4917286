"""How long work tells how far it is, without knowing who watches."""

from collections.abc import Callable

Report = Callable[[str, float, str], None]
"""Called with a task's name, the fraction done (0 to 1), and a note of a few words."""


def silent(task: str, fraction: float, note: str) -> None:
    """Tell nobody."""
