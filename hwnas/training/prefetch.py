"""Batches prepared ahead by other processes, in the order they are asked for."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from torch.utils.data import Dataset as TorchDataset

from hwnas.training.datasets import Around, Batch, Dataset, Split
from hwnas.training.workers import from_workers
from profilers.errors import HwnasError


@contextmanager
def prefetched(dataset: Dataset, workers: int) -> Iterator[Dataset]:
    """The same data set, its batches made ahead by so many processes, which end with the context.

    A batch is what it is without them. Ahead is looked when batches are asked for one after the other.
    """
    if not workers:
        yield dataset
        return
    ahead = Prefetched(dataset, workers)
    try:
        yield ahead
    finally:
        ahead.close()


@dataclass
class Prefetched(Around):
    """A `Dataset` that guesses what will be asked for next."""

    workers: int
    _next: tuple[Split, int, int] | None = field(default=None, repr=False)  # what would go on where the last one ended
    _coming: Generator[Any] | None = field(default=None, repr=False)  # from `_next` on

    def batch(self, split: Split, index: int, size: int) -> Batch:
        """The batch of the data set itself."""
        if (split, index, size) != self._next:
            self.close()
            batch = self.dataset.batch(split, index, size)
        else:
            self._coming = self._coming or from_workers(_Stream(self.dataset, split, size), _From(index), self.workers)
            images, labels = next(self._coming)
            batch = images.numpy(), labels.numpy()
        self._next = (split, index + 1, size)
        return batch

    def close(self) -> None:
        """End the processes."""
        if self._coming is not None:
            self._coming.close()
            self._coming = None


@dataclass(frozen=True)
class _Stream(TorchDataset[Any]):
    """Batches by their number, as torch's loader wants them. It would wrap errors in a traceback: they are values."""

    dataset: Dataset
    split: Split
    size: int

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset.batch(self.split, index, self.size)
        except HwnasError as error:
            return error


@dataclass(frozen=True)
class _From:
    """All whole numbers from `first` on."""

    first: int

    def __iter__(self) -> Iterator[int]:
        return count(self.first)
