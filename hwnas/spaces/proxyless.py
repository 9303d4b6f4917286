"""ProxylessNAS's own space (Cai, Zhu & Han, ICLR 2019, section 4.2), which its authors' Pixel 1 table is of.

21 blocks in six stages choose a kernel of 3, 5 or 7 and an expansion of 3 or 6; each but the first of its stage may be
left out instead, by an expansion of 0 (the paper's zero operation beside a shortcut).
"""

from hwnas.stages import Stage, StagedSpace, Start
from lut.blocks import Block, Conv, PooledLinear
from lut.layers import make_divisible

STEM, FIRST, *STAGES, MIXED = (32, 16, 24, 40, 80, 96, 192, 320, 1280)
STRIDES = (2, 2, 2, 1, 2, 1)


class ProxylessSpace(StagedSpace):
    """Five stages of inverted residuals with ReLU6, a sixth of one block, and a head that mixes before it pools."""

    norm_eps = 1e-3  # what the published weights were trained with

    def __init__(
        self,
        name: str,
        *,
        width: float,
        resolutions: tuple[int, ...],
        classes: int,
        depths: tuple[int, ...],
        expands: tuple[int, ...],
        skips: bool,
    ) -> None:
        self._mixed_chs = make_divisible(MIXED * width)
        rows = zip(STAGES, STRIDES, strict=True)
        super().__init__(
            name if width == 1 else f"{name}@{width:g}",
            resolutions=resolutions,
            image_chs=3,
            classes=classes,
            start=Start(make_divisible(STEM * width), "relu6", make_divisible(FIRST * width), "relu6"),
            stages=tuple(Stage(make_divisible(chs * width), stride, False, "relu6") for chs, stride in rows),
            depths=[depths] * 5 + [(1,)],
            kernels=(3, 5, 7),
            expands=expands,
            skips=skips,
        )

    def head(self, chs: int, hw: int) -> dict[str, Block]:
        """Mixing layer, and a classifier that pools: the table has one time for both."""
        return {
            "feature_mix": Conv(chs, self._mixed_chs, hw, 1, 1, "relu6"),
            "classifier": PooledLinear(self._mixed_chs, self.classes, hw),
        }


def build(width: float, resolutions: tuple[int, ...], classes: int | None) -> ProxylessSpace:
    """The space at a width multiplier; 224 pixels and 1000 classes where nothing else is asked."""
    return ProxylessSpace(
        "proxyless", width=width, resolutions=resolutions or (224,), classes=classes or 1000,
        depths=(4,), expands=(3, 6), skips=True,
    )  # fmt: skip
