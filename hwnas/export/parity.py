"""Parity: the file computes what the torch net computes, shown on images."""

import numpy as np
import torch
from torch import Tensor, nn

from profilers.errors import UntrustedError
from profilers.formats import ModelFile
from profilers.graph import Array

LIMIT = 1e-4


@torch.no_grad()
def max_difference(net: nn.Module, model: ModelFile, images: Tensor) -> float:
    """Largest absolute difference of logits between `net` in eval mode and an ONNX file, over `images`.

    Images are (B, C, H, W); they are given to the file in batches of its own size. Raises UntrustedError beyond 1e-4.
    """
    difference = float(np.abs(run_onnx(model, images.contiguous().numpy()) - net(images).numpy()).max())
    if not difference <= LIMIT:  # so that NaN fails, too
        raise UntrustedError(
            f"the exported file differs from the net by {difference:.2g} (limit {LIMIT:g}): nothing was shipped; "
            "train longer, or report this with the architecture's name"
        )
    return difference


def run_onnx(model: ModelFile, images: Array) -> Array:
    """Logits (B, classes) of an ONNX file for images (B, C, H, W), on the reference CPU provider."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.content, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[0]
    padded = np.resize(images, (-(-len(images) // size) * size, *images.shape[1:]))
    logits = [session.run(None, {"input": batch})[0] for batch in np.split(padded, len(padded) // size)]
    return np.concatenate(logits)[: len(images)]
