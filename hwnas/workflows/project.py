"""A Project: the space that a user means, with as many classes as their data have, and the data set.

How many classes a network tells apart is no property of a search space. It comes from the data set, or from the
supernet that was trained on it or imported: what nobody said is taken from the supernet of the space in the workspace,
if there is one. So a table prices, and a search compares, the very networks that are going to be exported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from hwnas.supernet_headers import SupernetHeader, supernet_headers
from hwnas.training.datasets import Dataset, canonical, open_dataset
from hwnas.workspace import Workspace
from profilers.errors import InvalidInputError

DEFAULT_DATA = "digit-pairs"


@dataclass(frozen=True)
class Project:
    """A space with its classes, the data set ("" where nobody knows one), and the supernet that is there for both."""

    space: SearchSpace
    data: str
    supernet: SupernetHeader | None = None

    @classmethod
    def resolve(cls, workspace: Workspace, spec: str, resolutions: tuple[int, ...] = (), data: str = "") -> "Project":
        """What is meant by a space, image sizes (none: those of the supernet, or the space's own), and a data set.

        A table may be measured at other image sizes than the supernet has: `check_dataset` compares them.
        Raises UnknownNameError for names, and InvalidInputError where the data set cannot be opened, where its images
        or classes do not fit what was asked for, or where no data set was named for one of several supernets.
        """
        plain = open_space(spec, resolutions=resolutions)
        found = _supernet_of(workspace, plain, data)
        if found and not resolutions:
            plain = open_space(spec, resolutions=found.resolutions)
        if data and (found is None or not found.data):  # imported weights do not say which data they fit
            dataset = open_dataset(data, 0, plain.resolutions[-1])
            space = fitting_space(plain, data, dataset.shape, len(dataset.classes))
            if found and found.classes != space.classes:
                raise InvalidInputError(
                    f"{data} has {space.classes} classes, and {found.path} tells {found.classes} apart: choose another "
                    "--data, or train a supernet on it with hwnas train"
                )
        else:
            space = open_space(spec, resolutions=plain.resolutions, classes=found.classes if found else None)
        return cls(space, canonical(data) if data else (found.data if found else ""), found)


def check_resolutions(supernet: SupernetHeader, space: SearchSpace) -> None:
    """Raise InvalidInputError where a supernet was trained for other image sizes than the space has."""
    if supernet.resolutions != space.resolutions:
        theirs, ours = (",".join(map(str, sizes)) for sizes in (supernet.resolutions, space.resolutions))
        raise InvalidInputError(
            f"{supernet.path} was trained for images of {theirs} pixels, not of {ours}: give --resolution {theirs}, or "
            "train another in another --workspace"
        )


def fitting_space(space: SearchSpace, data: str, shape: tuple[int, int, int], classes: int) -> SearchSpace:
    """The space with a data set's classes; raises InvalidInputError if images of `shape` (C, H, W) do not fit it."""
    chs, height, width = shape
    if (chs, height, width) != (space.image_chs, space.resolutions[-1], space.resolutions[-1]):
        raise InvalidInputError(
            f"{data} has images of {chs}x{height}x{width}; {space.name} takes {space.image_chs} channels of "
            f"{'/'.join(map(str, space.resolutions))} pixels: choose another --space, --data or --resolution"
        )
    return open_space(space.name, resolutions=space.resolutions, classes=classes)


def check_dataset(project: Project) -> Dataset:
    """The project's data set, the usual one if none is named; raises InvalidInputError where it does not fit.

    Images and classes must be those of the space, image sizes those of the supernet, and imported weights do not say
    which data set they are for.
    """
    space, data = project.space, project.data or DEFAULT_DATA
    if project.supernet:
        check_resolutions(project.supernet, space)
    if project.supernet and not project.data:
        raise InvalidInputError(
            f"{project.supernet.path} was imported, and does not say what it was trained on: give --data"
        )
    dataset = open_dataset(data, 0, space.resolutions[-1])
    fitting_space(space, data, dataset.shape, len(dataset.classes))
    if len(dataset.classes) != space.classes:
        what = project.supernet.path if project.supernet else space.name
        raise InvalidInputError(
            f"{data} has {len(dataset.classes)} classes now, and {what} tells {space.classes} apart: train again with "
            "hwnas train --restart, or choose another --data"
        )
    return dataset


def _supernet_of(workspace: Workspace, space: SearchSpace, data: str) -> SupernetHeader | None:
    """The supernet that is there for a space and a data set; of no data set named, the only one of the space."""
    there = [header for header in supernet_headers(workspace.supernets) if header.space == space.name]
    imported = [header for header in there if not header.data]
    if data:
        return next((h for h in there if h.data and canonical(h.data) == canonical(data)), _only(imported))
    trained = [header for header in there if header.data]
    usual = [header for header in trained if header.data == DEFAULT_DATA]
    if len(trained) > 1 and not usual:
        listed = ", ".join(header.data for header in trained)
        raise InvalidInputError(f"there are several supernets of {space.name}: give --data, one of {listed}")
    return _only(usual or trained or imported)


def _only(found: Sequence[SupernetHeader]) -> SupernetHeader | None:
    return found[0] if found else None
