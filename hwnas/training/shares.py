"""The share of each batch that one of several processes trains on."""

from dataclasses import dataclass

from hwnas.training.datasets import Around, Batch, Finite, Split


@dataclass
class Share(Around):
    """A `Dataset` of one process: `batch` has its share of the batch of that number and size, one of `world`."""

    rank: int
    world: int

    def batch(self, split: Split, index: int, size: int) -> Batch:
        """Images (size / world, C, H, W) and labels (size / world,)."""
        own = size // self.world
        if isinstance(self.dataset, Finite):  # a batch is a run of numbered images, each of which costs time to decode
            return self.dataset.batch(split, index * self.world + self.rank, own)
        images, labels = self.dataset.batch(split, index, size)
        rows = slice(self.rank * own, (self.rank + 1) * own)
        return images[rows], labels[rows]
