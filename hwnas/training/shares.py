"""The share of each batch that one of several processes trains on."""

from dataclasses import dataclass, field

from hwnas.training.datasets import Batch, Dataset, Finite, Split


@dataclass
class Share:
    """A `Dataset` of one process: `batch` has its share of the batch of that number and size, one of `world`."""

    dataset: Dataset
    rank: int
    world: int
    name: str = field(init=False)
    classes: tuple[str, ...] = field(init=False)
    scaling: str = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.classes, self.scaling = self.dataset.name, self.dataset.classes, self.dataset.scaling

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.dataset.shape

    def batch(self, split: Split, index: int, size: int) -> Batch:
        """Images (size / world, C, H, W) and labels (size / world,)."""
        own = size // self.world
        if isinstance(self.dataset, Finite):  # a batch is a run of numbered images, each of which costs time to decode
            return self.dataset.batch(split, index * self.world + self.rank, own)
        images, labels = self.dataset.batch(split, index, size)
        rows = slice(self.rank * own, (self.rank + 1) * own)
        return images[rows], labels[rows]
