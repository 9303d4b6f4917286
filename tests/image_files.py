"""Small image data sets on disk, in the forms in which people have them; every image is noise and unlike the others."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

CIFAR10_CLASSES = tuple(f"kind {number}" for number in range(10))
CIFAR100_CLASSES = tuple(f"sort_{number:02d}" for number in range(100))


def skip_without_torchvision() -> None:
    """Skip the test, saying why; torchvision is not imported, which beside some builds of torch is an art."""
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")


def write_cifar10(folder: Path, images: int = 100) -> Path:
    """CIFAR-10's binary version with so many images a file; the meta file ends with an empty line, as theirs does."""
    inner = folder / "cifar-10-batches-bin"
    inner.mkdir(parents=True)
    rng = np.random.default_rng(10)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        labels = (np.arange(images) % 10).astype(np.uint8)[:, None]
        (inner / name).write_bytes(np.hstack([labels, noise(rng, images)]).tobytes())
    (inner / "batches.meta.txt").write_text("\n".join(CIFAR10_CLASSES) + "\n\n")
    return folder


def write_cifar100(folder: Path) -> Path:
    """CIFAR-100's binary version: coarse label, fine label, pixels."""
    inner = folder / "cifar-100-binary"
    inner.mkdir(parents=True)
    rng = np.random.default_rng(100)
    for name in ("train.bin", "test.bin"):
        fine = (np.arange(400) % 100).astype(np.uint8)[:, None]
        (inner / name).write_bytes(np.hstack([fine // 5, fine, noise(rng, 400)]).tobytes())
    (inner / "fine_label_names.txt").write_text("\n".join(CIFAR100_CLASSES) + "\n")
    return folder


def noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """Pixels (count, 3072), by channel, row and column."""
    return rng.integers(0, 256, (count, 3072), np.uint8)


def write_folders(folder: Path, *parts: str, classes: int = 4, each: int = 110, hw: int = 40) -> Path:
    """ImageNet's layout: folder/PART/CLASS/*.png."""
    from PIL import Image

    rng = np.random.default_rng(classes)
    for part in parts:
        for label in range(classes):
            of_class = folder / part / f"class-{label}"
            of_class.mkdir(parents=True)
            for number in range(each):
                Image.fromarray(rng.integers(0, 256, (hw, hw + 8, 3), np.uint8)).save(of_class / f"{number:03d}.png")
    return folder
