"""CIFAR-100 (Krizhevsky 2009) with its fine labels, in its authors' binary form: `cifar100:FOLDER`, else in `data`."""

from typing import TYPE_CHECKING, Final

from hwnas.training.datasets import Facts
from hwnas.training.datasets.cifar10 import HW, Form, fetch, read

if TYPE_CHECKING:
    from hwnas.training.pictures import Pictures

FACTS: Final = Facts(spelling="cifar100[:FOLDER]", channels=3, hw=HW, classes=100)

CIFAR100: Final = Form(
    name="cifar100",
    folder="cifar-100-binary",
    train=("train.bin",),
    test="test.bin",
    class_names="fine_label_names.txt",
    labels=2,  # coarse, fine
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
)


def build(seed: int, hw: int | None, place: str) -> "Pictures":
    """CIFAR-100 from the folder `place`; see `read`."""
    return read(CIFAR100, seed, hw, place)


def download(place: str) -> None:
    """Fetch CIFAR-100 into the folder `place`; see `fetch`."""
    fetch(CIFAR100, place)
