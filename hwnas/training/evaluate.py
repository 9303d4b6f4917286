"""Judging subnets: batch-norm statistics of their own, then accuracy on images nobody trained on."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from hwnas.arch import Arch
from hwnas.nets.static import StaticNet
from hwnas.nets.supernet import Supernet
from hwnas.training.datasets import Batch, Dataset, Finite, Split, canonical
from hwnas.training.objective import resized
from hwnas.training.side_by_side import side_by_side
from hwnas.training.weights import TrainedSupernet
from hwnas.training.workers import from_workers
from lut.storage import RecordLog
from profilers.errors import InvalidInputError

FORMAT, VERSION = "hwnas-evaluations", 2
BATCH = 125
CALIBRATION_BATCHES = 6
VALIDATION_BATCHES = 12
TEST_BATCHES = 40
FIRST_CALIBRATION_BATCH = 1_000_000  # training images that no training step has drawn
MOST_DRAWN = 100_000  # images to judge by of a data set without end, known to 0.3 points then
KEPT_BYTES: Final = 1 << 30  # of images to judge by; more are made anew for each subnet
STATISTICS_KEPT = 64  # subnets; those of a large one are 200 kB
NORMAL_95: Final = 1.959964  # 95 % of a normal distribution is within so many standard deviations
MEMORY_SHARE: Final = 0.25  # of the machine's, that evaluations side by side may take by the space's largest block


class StoppedError(Exception):
    """Nobody wants to know any more how accurate a subnet is."""


@dataclass(frozen=True)
class Tally:
    """On how many of `images` a net was right: with its first guess, and with one of its first five."""

    images: int
    top1: int
    top5: int

    @property
    def accuracy(self) -> float:
        """The share of images whose label got the largest logit."""
        return self.top1 / self.images

    @property
    def top5_accuracy(self) -> float:
        """The share of images whose label is among the five with the largest logits."""
        return self.top5 / self.images


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); unlike the normal one it is sound near 0 and 1."""
    share, extra = right / images, NORMAL_95**2 / images
    middle = share + extra / 2
    half = NORMAL_95 * math.sqrt((share * (1 - share) + extra / 4) / images)
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))


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
    hooks = [norm.register_forward_hook(lambda norm, args, _: pooled[norm].add(norm, args[0])) for norm in norms]
    mode, momenta = net.training, [norm.momentum for norm in norms]
    net.train()
    for norm in norms:
        norm.momentum = 1.0  # so that the running statistics are those of the last batch, which it was normalised by
    try:
        for images in batches:
            net(images)
    finally:
        for hook, norm, momentum in zip(hooks, norms, momenta, strict=True):
            hook.remove()
            norm.momentum = momentum
        net.train(mode)
    for norm, moments in pooled.items():
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(moments.mean)
        norm.running_var.copy_(moments.squares / (moments.count - 1))


class _Moments:
    """Mean and sum of squared deviations per channel of all batches that were added."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, norm: nn.BatchNorm2d, x: Tensor) -> None:
        """Add the batch `x` that a norm of momentum 1 has just seen: its statistics need not be computed again."""
        assert norm.running_mean is not None and norm.running_var is not None
        count = x.numel() // x.shape[1]
        delta, total = norm.running_mean.double() - self.mean, self.count + count
        within = norm.running_var.double() * (count - 1)  # torch divides by one less than it has
        self.squares = self.squares + within + delta**2 * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total


@torch.no_grad()
def tally(net: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> Tally:
    """How often a net is right; a torch net is run as it is, so put it in eval mode."""
    images = top1 = top5 = 0
    for inputs, labels in batches:
        logits = net(inputs)
        guesses = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        top1 += int((logits.argmax(dim=1) == labels).sum())
        top5 += int(guesses.any(dim=1).sum())
        images += len(labels)
    return Tally(images, top1, top5)


def accuracy(net: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images whose label gets the largest logit; see `tally`."""
    return tally(net, batches).accuracy


@dataclass(frozen=True)
class Bench(TorchDataset[Any]):
    """What subnets are judged with: training images for their norms, and images that they are judged by."""

    net: Supernet
    calibration: Sequence[tuple[Tensor, Tensor]]
    judged_by: Iterable[tuple[Tensor, Tensor]]
    archs: Sequence[Arch] = ()

    def subnet(self, arch: Arch, stopped: Event | None = None) -> StaticNet:
        """The subnet with batch-norm statistics of its own, on the device of the images."""
        net = self.net.extract(arch).to(self.calibration[0][0].device)
        seen = at_resolution(self.calibration, self.net.space.resolution(arch), stopped)
        recalibrate(net, (images for images, _ in seen))
        return net

    def judge(self, arch: Arch) -> Tally:
        """How often the subnet is right on images of its resolution."""
        return tally(self.subnet(arch), at_resolution(self.judged_by, self.net.space.resolution(arch)))

    def __getitem__(self, number: int) -> tuple[int, Tally]:
        """The number of an architecture, and how it does: what torch's loader has its processes make."""
        return number, self.judge(self.archs[number])


def at_resolution(
    batches: Iterable[tuple[Tensor, Tensor]], hw: int, stopped: Event | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The same batches with images of (B, C, hw, hw); raises StoppedError when that event is set meanwhile."""
    for images, labels in batches:
        if stopped and stopped.is_set():
            raise StoppedError
        yield resized(images, hw), labels


_MAKING: Final = Lock()
"""Data sets of other people's own need not bear threads, and ours draw from torch's one generator."""


@dataclass(frozen=True)
class Images:
    """The first `count` images of a data set's batches from number `first` on, made anew each time."""

    dataset: Dataset
    split: Split
    count: int
    first: int
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, H, W) and labels (B,)."""
        for index in range(math.ceil(self.count / BATCH)):
            with _MAKING:
                images, labels = to_tensors(self.dataset.batch(self.split, self.first + index, BATCH))
            left = self.count - index * BATCH
            yield images[:left].to(self.device), labels[:left].to(self.device)


class SubnetEvaluator:
    """Accuracies of subnets on validation images, each found once: kept in a log beside the supernet's weights."""

    def __init__(
        self,
        trained: TrainedSupernet,
        dataset: Dataset,
        log: Path,
        images: int | None = None,  # to judge by; of a data set with fewer, all
        device: torch.device = torch.device("cpu"),  # noqa: B008 - a constant
    ) -> None:
        self.trained, self.device = trained, device
        self._dataset, self._asked = dataset, images
        header = {"format": FORMAT, "version": VERSION, "supernet": trained.sha256, "data": dataset.name}
        self._log = RecordLog.open(log, header)
        earlier = str(self._log.header.get("data"))  # by earlier versions as the path was typed
        if {**self._log.header, "data": canonical(earlier)} != {**header, "data": canonical(dataset.name)}:
            raise InvalidInputError(f"{log} is of another supernet or data set: remove it, and subnets are judged anew")
        self._statistics: dict[Arch, dict[str, Tensor]] = {}
        self._noting = Lock()
        self.known: dict[Arch, float] = {}  # accuracies
        self.tallies: dict[Arch, Tally] = {}
        self._take_in()

    @property
    def images(self) -> int:
        """How many validation images subnets are evaluated on."""
        return self._number("validation")

    def validation_accuracy(self, arch: Arch) -> float:
        """Accuracy of a subnet on validation images, from the log if it is there."""
        return self.validation(arch).accuracy

    def validation(self, arch: Arch) -> Tally:
        """How a subnet does on validation images, from the log if it is there."""
        for _ in self.judge([arch]):
            pass
        return self.tallies[arch]

    def judge(self, archs: Sequence[Arch], workers: int = 0) -> Iterator[tuple[Arch, Tally]]:
        """Judge those subnets that are not in the log yet, and log each as soon as it is judged.

        So many processes do, or else threads of this one, as many as torch would use; what they find does not depend on
        that. Subnets come in the order in which they are done. Only this process writes: killed, it has what was judged
        so far.
        """
        new = [arch for arch in dict.fromkeys(archs) if arch not in self.known]
        if not new:
            return
        bench = Bench(self.trained.net, self._calibration, self._validation, new)  # images are made here, and once
        if not workers or len(new) < 2:
            yield from side_by_side(self._judge, new, self._at_a_time)
            return
        done = from_workers(bench, range(len(new)), min(workers, len(new)), in_order=False)
        for number, found in done:
            self._keep(new[number], found)
            yield new[number], found

    def _judge(self, arch: Arch, stopped: Event) -> Tally:
        images = at_resolution(self._validation, self.trained.net.space.resolution(arch), stopped)
        found = tally(self.subnet(arch, stopped), images)
        self._keep(arch, found)
        return found

    @cached_property
    def _at_a_time(self) -> int:
        """How many subnets may be judged side by side: one on a GPU, else as many as memory is there for."""
        if self.device.type != "cpu":
            return 1
        largest = BATCH * max(block.peak_activation_bytes for block in self.trained.net.space.vocabulary)
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return max(1, int(MEMORY_SHARE * there / largest))

    def test(self, arch: Arch) -> Tally:
        """How a subnet does on test images, which decide nothing and are in no log."""
        return tally(self.subnet(arch), at_resolution(self._test, self.trained.net.space.resolution(arch)))

    def test_accuracy(self, net: Callable[[Tensor], Tensor]) -> float:
        """Accuracy of a net, or of a file, on test images of the largest resolution."""
        return accuracy(net, self._test)

    def subnet(self, arch: Arch, stopped: Event | None = None) -> StaticNet:
        """The subnet with batch-norm statistics of its own, ready to be judged or exported."""
        if arch in self._statistics:
            net = self.trained.net.extract(arch).to(self.device)
            net.load_state_dict(self._statistics[arch], strict=False)
            return net
        net = Bench(self.trained.net, self._calibration, ()).subnet(arch, stopped)
        with self._noting:
            self._statistics[arch] = {name: value.clone() for name, value in net.named_buffers()}
            while len(self._statistics) > STATISTICS_KEPT:
                del self._statistics[next(iter(self._statistics))]
        return net

    @cached_property
    def _calibration(self) -> list[tuple[Tensor, Tensor]]:
        return list(self._images("train", CALIBRATION_BATCHES * BATCH, FIRST_CALIBRATION_BATCH))

    @cached_property
    def _validation(self) -> Iterable[tuple[Tensor, Tensor]]:
        return self._judged_by("validation")

    @cached_property
    def _test(self) -> Iterable[tuple[Tensor, Tensor]]:
        return self._judged_by("test")

    def _judged_by(self, split: Split) -> Iterable[tuple[Tensor, Tensor]]:
        """Images to judge by, made once, unless they are more than memory is to hold."""
        images = self._images(split, self._number(split))
        size = torch.float32.itemsize * images.count * math.prod(self._dataset.shape)
        return list(images) if size <= KEPT_BYTES else images

    def _number(self, split: Split) -> int:
        """How many images to judge by."""
        wanted = self._asked or BATCH * (VALIDATION_BATCHES if split == "validation" else TEST_BATCHES)
        return min(wanted, self._dataset.count(split) if isinstance(self._dataset, Finite) else MOST_DRAWN)

    def _images(self, split: Split, count: int, first: int = 0) -> "Images":
        return Images(self._dataset, split, count, first, self.device)

    def _keep(self, arch: Arch, found: Tally) -> None:
        with self._noting, self._log.writing(wait_s=60):  # another process may judge subnets of the same supernet
            self._take_in()
            if arch not in self.tallies:
                self._log.append({"arch": str(arch), **asdict(found)})
                self._note(arch, found)

    def _note(self, arch: Arch, found: Tally) -> None:
        self.tallies[arch], self.known[arch] = found, found.accuracy

    def _take_in(self) -> None:
        """Know what the log says; what was judged by another number of images is another figure."""
        wanted = self._number("validation")
        try:
            for record in self._log.records:
                found = Tally(int(record["images"]), int(record["top1"]), int(record["top5"]))
                if found.images == wanted:
                    self._note(Arch.parse(record["arch"]), found)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            path = self._log.path
            raise InvalidInputError(f"{path} is damaged ({error!r}): remove it, and subnets are judged anew") from error
