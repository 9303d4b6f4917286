"""A small member of the MobileNetV3 family, for digit-pairs: it trains on two CPU cores in minutes."""

from hwnas.spaces.ofa_mbv3 import MobileNetV3Space
from hwnas.stages import Stage
from lut.layers import make_divisible


def build(width: float, resolutions: tuple[int, ...], classes: int | None) -> MobileNetV3Space:
    """Three stages of one to three blocks; 40 pixels and 100 classes where nothing else is asked.

    The second stride comes early, in the first block: at 20 by 20 pixels the elastic blocks would take most of a
    training step, and gain little.
    """
    stem, first, second, third, expanded, mixed = (make_divisible(chs * width) for chs in (8, 16, 24, 40, 240, 256))
    return MobileNetV3Space(
        "digits" if width == 1 else f"digits@{width:g}",
        resolutions=resolutions or (40,),
        image_chs=1,
        stem_chs=stem,
        stages=(
            Stage(first, 1, False, "relu"),
            Stage(second, 2, True, "hswish"),
            Stage(third, 1, True, "hswish"),
        ),
        first_stride=2,
        depths=(1, 2, 3),
        head_chs=(expanded, mixed),
        classes=classes or 100,
    )
