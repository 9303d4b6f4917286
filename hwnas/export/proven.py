"""The one way from a subnet to a file that is shipped: lowered, written, and proven equal on real images."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwnas.export.lower import lower
from hwnas.export.parity import max_difference, run_file
from hwnas.nets.static import StaticNet
from hwnas.training.datasets import Dataset
from hwnas.training.evaluate import to_tensors
from hwnas.training.objective import resized
from profilers.formats import FP32, Form, ModelFile, write

PROVING_IMAGES = 32
RANGE_IMAGES = 256  # that int8 scales are made from


@dataclass(frozen=True)
class Exported:
    """A model file for images of `hw` pixels, and the largest difference of its logits (its twin's, if int8)."""

    model: ModelFile
    max_difference: float
    hw: int

    def __call__(self, images: Tensor) -> Tensor:
        """The file's logits, (n, classes), for images (n, C, H, W), scaled down where they are larger."""
        return torch.from_numpy(run_file(self.model, resized(images, self.hw).contiguous().numpy()))


def export_proven(net: StaticNet, format: str, dataset: Dataset, form: Form = FP32, batch: int = 1) -> Exported:
    """The net as a model file for `batch` images.

    An int8 file cannot equal the net: its float32 twin, of the same operations, must, and its accuracy is the file's
    own. Raises UntrustedError if logits differ by more than `hwnas.export.parity.LIMIT`.
    """
    graph = lower(net, batch)
    hw = graph.input.shape[2]
    images = resized(to_tensors(dataset.batch("test", 0, PROVING_IMAGES))[0], hw)
    twin = write(graph, format, replace(form, precision="fp32"))
    difference = max_difference(net, twin, images)
    if form.precision == "fp32":
        return Exported(twin, difference, hw)
    seen, _ = to_tensors(dataset.batch("train", 0, RANGE_IMAGES // batch * batch))
    return Exported(write(graph, format, form, images=resized(seen, hw).contiguous().numpy()), difference, hw)
