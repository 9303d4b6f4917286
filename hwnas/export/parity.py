"""Parity: the file computes what the torch net computes, shown on images."""

import numpy as np
import torch
from torch import Tensor, nn

from profilers import backends, formats
from profilers.errors import UntrustedError
from profilers.formats import ModelFile
from profilers.graph import Array

LIMIT = 1e-4


@torch.no_grad()
def max_difference(net: nn.Module, model: ModelFile, images: Tensor) -> float:
    """Largest absolute difference of logits between `net` in eval mode and a float32 file, over `images`.

    Images are (B, C, H, W); they are given to the file in batches of its own size. Raises UntrustedError beyond 1e-4.
    """
    difference = float(np.abs(run_file(model, images.contiguous().numpy()) - net(images).numpy()).max())
    if not difference <= LIMIT:  # so that NaN fails, too
        raise UntrustedError(
            f"the exported file differs from the net by {difference:.2g} (limit {LIMIT:g}): nothing was shipped; "
            "train longer, or report this with the architecture's name"
        )
    return difference


def run_file(model: ModelFile, images: Array) -> Array:
    """Logits (n, classes) of a model file for images (n, C, H, W), on its format's usual runtime."""
    return backends.load(formats.load(model.format).RUNTIME).compute(model.content, images)
