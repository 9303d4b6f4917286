"""Parity: the file computes what the torch net computes, shown on images."""

import numpy as np
import torch
from torch import Tensor, nn

from profilers.errors import UntrustedError
from profilers.formats import ModelFile

LIMIT = 1e-4


@torch.no_grad()
def max_difference(net: nn.Module, model: ModelFile, images: Tensor) -> float:
    """Largest absolute difference of logits between `net` in eval mode and the model file, over `images`.

    Images are (B, C, H, W), run one by one as a device does. Raises UntrustedError beyond 1e-4.
    """
    expected = net(images).numpy()
    found = np.concatenate([run_onnx(model, image[None].contiguous().numpy()) for image in images])
    difference = float(np.abs(found - expected).max())
    if not difference <= LIMIT:  # so that NaN fails, too
        raise UntrustedError(
            f"the exported file differs from the net by {difference:.2g} (limit {LIMIT:g}): nothing was shipped; "
            "train longer, or report this with the architecture's name"
        )
    return difference


def run_onnx(model: ModelFile, image: np.ndarray) -> np.ndarray:
    """Logits (1, classes) of an ONNX file for one image (1, C, H, W), on the reference CPU provider."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.content, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(None, {"input": image})[0]
    return logits
