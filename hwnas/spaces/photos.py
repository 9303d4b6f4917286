"""A small member of the MobileNetV3 family for colour images of 32 to 64 pixels; two CPU cores train it in minutes."""

from hwnas.spaces.ofa_mbv3 import MobileNetV3Space
from hwnas.stages import Stage
from lut.layers import make_divisible


def build(width: float, resolutions: tuple[int, ...], classes: int | None) -> MobileNetV3Space:
    """Three stages of one to three blocks; 32, 48 and 64 pixels and 10 classes where nothing else is asked.

    The total stride is 8, so 4 by 4 pixels are left of an image of 32: the larger kernel is 5, because at that size
    one of 7 would mostly see padding.
    """
    stem, first, second, third, expanded, mixed = (make_divisible(chs * width) for chs in (16, 24, 40, 64, 256, 256))
    return MobileNetV3Space(
        "photos" if width == 1 else f"photos@{width:g}",
        resolutions=resolutions or (32, 48, 64),
        image_chs=3,
        stem_chs=stem,
        stages=(
            Stage(first, 2, False, "relu"),
            Stage(second, 2, True, "hswish"),
            Stage(third, 1, True, "hswish"),
        ),
        depths=(1, 2, 3),
        kernels=(3, 5),
        head_chs=(expanded, mixed),
        classes=classes or 10,
    )
