"""The one way from a subnet to a file that is shipped: lowered, written, and proven equal on real images."""

from hwnas.export.lower import lower
from hwnas.export.parity import max_difference
from hwnas.nets.static import StaticNet
from hwnas.training.datasets import Dataset
from hwnas.training.evaluate import to_tensors
from profilers.formats import ModelFile, write

IMAGES = 32


def export_proven(net: StaticNet, format: str, dataset: Dataset, batch: int = 1) -> tuple[ModelFile, float]:
    """The net as a model file for `batch` images, and the largest difference of its logits from the net's.

    Raises UntrustedError if they differ by more than `hwnas.export.parity.LIMIT`.
    """
    model = write(lower(net, batch), format)
    images, _ = to_tensors(dataset.batch("test", 0, IMAGES))
    return model, max_difference(net, model, images)
