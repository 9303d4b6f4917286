"""How a picture becomes what a network takes when it is judged: a value, which predict.py of a bundle is made from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PictureForm:
    """A picture's shorter side is made `side` pixels, its middle is cut out, and its 8-bit values are scaled.

    A value becomes (value / `unit` - mean) / std, channel by channel. One channel is grey, three are RGB.
    """

    side: int
    unit: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
