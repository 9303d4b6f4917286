"""A look at a training on its way: how well its smallest, middle and largest subnet do by now."""

import time
from collections.abc import Iterator

import numpy as np
from torch import Tensor, device, no_grad

from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.training.datasets import Dataset, Split
from hwnas.training.evaluate import BATCH, FIRST_CALIBRATION_BATCH, accuracy, recalibrate, to_tensors
from hwnas.training.objective import resized

CALIBRATION_BATCHES, VALIDATION_BATCHES = 2, 4  # few: a look is to cost seconds, not to decide anything
TIMES = 10  # at most, in a training
LEAST_PAUSE_S = 20.0  # so that a short training is not spent on looks


class Probe:
    """Accuracies on a few validation images, in tenths of a training, unless it is too short for them."""

    def __init__(self, space: SearchSpace, dataset: Dataset, on: device, pause_s: float = LEAST_PAUSE_S) -> None:
        middle = space.canonical(np.array([space.sizes]) // 2)[0]
        self.archs = {"smallest": space.smallest, "middle": space.arch(middle), "largest": space.largest}
        self.pause_s, self._device, self._looked_at = pause_s, on, time.monotonic()
        self._dataset = dataset
        self.seen: dict[str, float] = {}  # what the last look saw

    def due(self, before: float, after: float) -> bool:
        """Whether it is time to look behind a step from progress `before` to `after`; not at the very end."""
        crossed = int(before * TIMES) < int(after * TIMES) < TIMES
        return crossed and time.monotonic() - self._looked_at >= self.pause_s

    @no_grad()
    def look(self, net: Supernet) -> dict[str, float]:
        """Accuracies by the subnet's name."""
        for name, arch in self.archs.items():
            subnet, hw = net.extract(arch), net.space.resolution(arch)
            recalibrate(subnet, (images for images, _ in self._batches("train", hw)))
            self.seen[name] = accuracy(subnet.eval(), self._batches("validation", hw))
        self._looked_at = time.monotonic()
        return self.seen

    def _batches(self, split: Split, hw: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, hw, hw) and labels (B,) on the device."""
        first, count = (FIRST_CALIBRATION_BATCH, CALIBRATION_BATCHES) if split == "train" else (0, VALIDATION_BATCHES)
        for index in range(first, first + count):
            images, labels = to_tensors(self._dataset.batch(split, index, BATCH))
            yield resized(images.to(self._device), hw), labels.to(self._device)
