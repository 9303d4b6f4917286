"""predict.py of a bundle: a script that classifies a picture with the model beside it, without hwnas.

It needs numpy, the model's runtime, and Pillow for pictures. It prepares a picture as evaluation does, to the pixel:
`hwnas.training.pictures` crops and scales, `hwnas.training.objective.resized` makes images smaller.
"""

from dataclasses import dataclass

from hwnas.training.picture_form import PictureForm
from profilers import formats


@dataclass(frozen=True)
class ModelInput:
    """What the models of a bundle take."""

    shape: tuple[int, int, int]  # of the data set's images: channels, height, width
    hw: int  # the network's own height and width, which images are made smaller to
    scaling: str  # in words
    pictures: PictureForm | None = None  # None: only the data set itself knows how its images are made


_HEAD = '''"""Classify an image with the model beside this file: python predict.py IMAGE

IMAGE is a picture, or a .npy file with a float array of shape ({chs}, {hw}, {hw}), scaled as SCALING says.
"""

import sys
from pathlib import Path


def fail(text):
    sys.exit(f"predict.py: {{text}}")


try:
    import numpy as np
except ImportError:
    fail("numpy is not installed here: pip install numpy")

MODEL = "model.{format}"
CHANNELS, TRAINED_HW, HW = {chs}, {trained_hw}, {hw}  # images are prepared as for training, then made smaller
SCALING = {scaling!r}
PICTURES = {pictures}  # shorter side, unit, mean and deviation of a channel's values


'''

_BODY = r'''def from_array(path):
    """An image (CHANNELS, H, W) that is scaled already."""
    try:
        image = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, kind = image.shape, image.dtype.kind
    except Exception as error:
        fail(f"{path} is no array that can be read ({first_line(error)})")
    if kind != "f" or len(shape) != 3 or shape[0] != CHANNELS or shape[1] != shape[2] or shape[1] < HW:
        fail(f"{path} holds {image.dtype} {shape}: floats ({CHANNELS}, {HW}, {HW}) are wanted, scaled as {SCALING}")
    image = np.array(image, np.float32)
    if not np.isfinite(image).all():
        fail(f"{path} holds values that are not finite")
    return image


def from_picture(path):
    """A picture, cut and scaled as for training: (CHANNELS, TRAINED_HW, TRAINED_HW)."""
    if PICTURES is None:
        fail(f"give a .npy file of floats ({CHANNELS}, {HW}, {HW}), scaled {SCALING}: how is not known here")
    try:
        from PIL import Image
    except ImportError:
        fail("pictures need Pillow, which is not installed here: pip install pillow, or give a .npy file")
    try:
        with Image.open(path) as picture:
            picture.load()
    except Exception as error:
        fail(f"{path} is no picture that can be read ({first_line(error)})")
    if picture.mode.startswith("I"):  # of 16 bits the upper 8
        picture = Image.fromarray((np.asarray(picture).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    elif picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    elif picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        fail(f"{path} has pixels of mode {picture.mode}: convert it to 8 bits a channel")
    side, unit, mean, deviation = PICTURES
    width, height = picture.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    picture = picture.convert("L" if CHANNELS == 1 else "RGB").resize(size, Image.BILINEAR)
    left, top = (int(round((length - TRAINED_HW) / 2)) for length in size)
    picture = picture.crop((left, top, left + TRAINED_HW, top + TRAINED_HW))
    pixels = np.asarray(picture, np.float64).reshape(TRAINED_HW, TRAINED_HW, CHANNELS)
    return ((pixels / unit - mean) / deviation).astype(np.float32).transpose(2, 0, 1)


def made_smaller(image):
    """An image as (CHANNELS, HW, HW): bilinear, each pixel from all that it covers."""
    if image.shape[1] == HW:
        return image
    step = image.shape[1] / HW
    distances = (np.arange(image.shape[1]) + 0.5)[None] - ((np.arange(HW) + 0.5) * step)[:, None]
    weights = np.maximum(0, 1 - np.abs(distances) / step)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights @ image @ weights.T).astype(np.float32)


def first_line(error):
    return next(iter(str(error).splitlines()), type(error).__name__)


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: python {sys.argv[0]} IMAGE   (a picture, or a .npy file)", file=sys.stderr)
        sys.exit(2)
    path, here = Path(sys.argv[1]), Path(__file__).parent
    if not path.is_file():
        fail(f"{path} is no file")
    image = made_smaller(from_array(path) if path.suffix.lower() == ".npy" else from_picture(path))
    try:
        logits = logits_of(here / MODEL, np.ascontiguousarray(image))
        labels = (here / "labels.txt").read_text("utf-8").removesuffix("\n").split("\n")
    except Exception as error:
        fail(f"the files beside predict.py cannot be used ({first_line(error)})")
    if len(labels) != len(logits):
        fail(f"labels.txt has {len(labels)} lines, and the model tells {len(logits)} classes apart")
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack a label's characters
    for index in np.argsort(-logits)[:3]:
        print(f"{labels[index]}  {shares[index]:.3f}")


main()
'''


def predict_script(format: str, takes: ModelInput) -> bytes:
    """The source of a predict.py that runs the model in `format`."""
    form = takes.pictures
    head = _HEAD.format(
        format=format,
        chs=takes.shape[0],
        trained_hw=takes.shape[1],
        hw=takes.hw,
        scaling=takes.scaling,
        pictures=None if form is None else (form.side, form.unit, form.mean, form.std),
    )
    return (head + formats.load(format).PREDICT + "\n\n" + _BODY).encode()
