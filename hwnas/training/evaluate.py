"""Judging subnets: batch-norm statistics of their own, then accuracy on images nobody trained on."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hwnas.arch import Arch
from hwnas.nets.static import StaticNet
from hwnas.training.datasets import Batch, Dataset, Split
from hwnas.training.weights import TrainedSupernet
from lut.storage import RecordLog
from profilers.errors import InvalidInputError

FORMAT, VERSION = "hwnas-evaluations", 1
BATCH = 125
CALIBRATION_BATCHES = 6
VALIDATION_BATCHES = 12
TEST_BATCHES = 40
FIRST_CALIBRATION_BATCH = 1_000_000  # training images that no training step has drawn


def to_tensors(batch: Batch) -> tuple[Tensor, Tensor]:
    """A batch for torch, images with channels last."""
    images, labels = batch
    return torch.from_numpy(images).clone(memory_format=torch.channels_last), torch.from_numpy(labels)


@torch.no_grad()
def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace every batch norm's running statistics by those of `batches`, (B, C, H, W) each.

    Variances are pooled: the spread *between* batches counts, not only the one within (Chan et al. 1979). The
    running averages torch keeps, and once-for-all's recalibration, leave it out and come out too small.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    pooled = {norm: _Moments() for norm in norms}
    hooks = [norm.register_forward_pre_hook(lambda norm, args: pooled[norm].add(args[0])) for norm in norms]
    mode = net.training
    net.train()
    # What a batch pushes into the running statistics is overwritten below.
    try:
        for images in batches:
            net(images)
    finally:
        for hook in hooks:
            hook.remove()
        net.train(mode)
    for norm, moments in pooled.items():
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(moments.mean)
        norm.running_var.copy_(moments.squares / (moments.count - 1))


class _Moments:
    """Mean and sum of squared deviations per channel of all that was added."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        count = x.numel() // x.shape[1]
        var, mean = torch.var_mean(x.double(), dim=(0, 2, 3), correction=0)
        delta, total = mean - self.mean, self.count + count
        self.squares = self.squares + var * count + delta**2 * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total


@torch.no_grad()
def accuracy(net: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images whose label gets the largest logit; a torch net is run as it is, so put it in eval mode."""
    right = seen = 0
    for images, labels in batches:
        right += int((net(images).argmax(dim=1) == labels).sum())
        seen += len(labels)
    return right / seen


class SubnetEvaluator:
    """Validation accuracies of subnets, each computed once: kept in a log beside the supernet's weights."""

    def __init__(self, trained: TrainedSupernet, dataset: Dataset, log: Path) -> None:
        self.trained, self._dataset = trained, dataset
        header = {"format": FORMAT, "version": VERSION, "supernet": trained.sha256, "data": dataset.name}
        self._log = RecordLog.open(log, header)
        if self._log.header != header:
            raise InvalidInputError(f"{log} is of another supernet or data set: remove it, and subnets are judged anew")
        try:
            self.known = {Arch.parse(record["arch"]): float(record["accuracy"]) for record in self._log.records}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"{log} is damaged ({error!r}): remove it, and subnets are judged anew") from error
        self._calibration = self._images("train", FIRST_CALIBRATION_BATCH, CALIBRATION_BATCHES)
        self._validation = self._images("validation", 0, VALIDATION_BATCHES)

    def validation_accuracy(self, arch: Arch) -> float:
        """Accuracy of a subnet on validation images, from the log if it is there."""
        if arch not in self.known:
            found = accuracy(self.subnet(arch), self._validation)
            with self._log.writing(wait_s=60):  # another process may judge subnets of the same supernet
                self._log.append({"arch": str(arch), "accuracy": found})
            self.known[arch] = found
        return self.known[arch]

    def test_accuracy(self, net: Callable[[Tensor], Tensor]) -> float:
        """Accuracy of a net, or of a file, on test images, which decide nothing."""
        return accuracy(net, self._images("test", 0, TEST_BATCHES))

    def subnet(self, arch: Arch) -> StaticNet:
        """The subnet with batch-norm statistics of its own, ready to be judged or exported."""
        net = self.trained.net.extract(arch)
        recalibrate(net, (images for images, _ in self._calibration))
        return net

    def _images(self, split: Split, first: int, count: int) -> Sequence[tuple[Tensor, Tensor]]:
        return [to_tensors(self._dataset.batch(split, first + i, BATCH)) for i in range(count)]
