"""torchvision, imported where it is used: it takes a second, and not everyone has it."""

from typing import Any, Final

import torch

from profilers.errors import InvalidInputError

# torchvision 0.28 beside a torch of another build: its own operators are not loaded, though nothing here needs them.
_OTHER_BUILD: Final = "operator torchvision::nms does not exist"
_SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # schemas last as long as the library that declared them


def transforms() -> Any:
    """The module `torchvision.transforms.v2`; raises InvalidInputError if torchvision cannot be imported."""
    try:
        import torchvision
    except ImportError as error:
        raise InvalidInputError(
            f"images need torchvision ({error}): install it with: pip install 'hwnas[vision]'"
        ) from error
    except RuntimeError as error:
        if _OTHER_BUILD not in str(error):
            raise
        _declare()
        import torchvision  # noqa: F401 - again: it fails before it is of any use
    from torchvision.transforms import v2

    return v2


def _declare() -> None:
    """Say what the operators would look like, so that torchvision can say how they behave."""
    library = torch.library.Library("torchvision", "DEF")
    _declared.append(library)
    for schema in _SCHEMAS:
        library.define(schema)
