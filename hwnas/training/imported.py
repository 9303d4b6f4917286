"""Published checkpoints kept as supernets of a workspace."""

from collections.abc import Callable
from pathlib import Path

from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.training.checkpoints import import_checkpoint
from hwnas.training.weights import digest_of, load_supernet, save_supernet
from profilers.errors import InvalidInputError


def import_into(
    path: Path, file: Path, space: SearchSpace, tell: Callable[[str], None]
) -> tuple[Supernet, dict[str, str]]:
    """Keep the supernet of `space` in a published `file` at `path`; returns it with the `file` and `sha256` it is from.

    The same import again finds it done: a command killed just after writing succeeds when it is repeated. Raises
    InvalidInputError if `path` is of another file or for other sizes, and whatever `import_checkpoint` raises.
    """
    if path.exists():
        kept = load_supernet(path)
        alike = (kept.net.space.classes, kept.net.space.resolutions) == (space.classes, space.resolutions)
        if kept.origin.get("sha256") == _digest(file) and alike:
            return kept.net, kept.origin
        raise InvalidInputError(
            f"{path} is there already, imported from {kept.origin.get('file')}, and is not replaced: move it away, or "
            "choose another --workspace"
        )
    net = import_checkpoint(file, space, tell)
    origin = {"file": file.name, "sha256": digest_of(file)}
    save_supernet(net, path, data="", plan={}, origin=origin)
    return net, origin


def _digest(file: Path) -> str:
    return digest_of(file) if file.is_file() else ""
