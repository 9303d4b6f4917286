"""A folder is a registry: a plug-in is one file in a package, and the file's name is the name users type."""

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from profilers.errors import UnknownNameError


def names(package: str) -> tuple[str, ...]:
    """Names of the plug-ins in `package`, sorted; a file `digit_pairs.py` answers to `digit-pairs`.

    A file whose name begins with `_` is a helper of plug-ins, and none itself.
    """
    spec = importlib.util.find_spec(package)  # which imports nothing of the package itself, whatever that needs
    files = [found.name for found in pkgutil.iter_modules(spec.submodule_search_locations if spec else None)]
    return tuple(sorted(name.replace("_", "-") for name in files if not name.startswith("_")))


def check(package: str, kind: str, name: str) -> None:
    """Raise UnknownNameError, which lists what there is, if `package` has no plug-in `name`; imports nothing of it."""
    if name not in names(package):
        raise UnknownNameError(kind, name, names(package))


def load(package: str, kind: str, name: str) -> ModuleType:
    """Import the plug-in `name` of `package`; `kind` is the word users know it by.

    Raises UnknownNameError, which lists what there is.
    """
    check(package, kind, name)
    return importlib.import_module(f"{package}.{name.replace('-', '_')}")


def summary(package: str, kind: str, name: str) -> str:
    """What a plug-in is, in the first line of its file; raises UnknownNameError."""
    return (load(package, kind, name).__doc__ or "").partition("\n")[0]
