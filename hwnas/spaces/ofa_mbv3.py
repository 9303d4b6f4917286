"""The once-for-all MobileNetV3 space (Cai et al., ICLR 2020, section 4.1), and the family it belongs to.

Five stages of two to four inverted residuals; each block chooses its kernel and its expansion. At width 1 and
one resolution the vocabulary is 96 blocks: 90 searchable ones, stem, first block, and four of the head.
"""

from hwnas.stages import Stage, StagedSpace, Start
from lut.blocks import Block, Conv, Linear, Pool
from lut.layers import make_divisible


class MobileNetV3Space(StagedSpace):
    """Stages of one range of depths, and a head in four parts."""

    def __init__(
        self,
        name: str,
        *,
        resolutions: tuple[int, ...],
        image_chs: int,
        stem_chs: int,
        stages: tuple[Stage, ...],
        depths: tuple[int, ...],
        head_chs: tuple[int, int],
        classes: int,
        first_stride: int = 1,
        kernels: tuple[int, ...] = (3, 5, 7),
        expands: tuple[int, ...] = (3, 4, 6),
    ) -> None:
        self._head_chs = head_chs
        super().__init__(
            name,
            resolutions=resolutions,
            image_chs=image_chs,
            classes=classes,
            start=Start(stem_chs, "hswish", stem_chs, "relu", first_stride),
            stages=stages,
            depths=[depths] * len(stages),
            kernels=kernels,
            expands=expands,
        )

    def head(self, chs: int, hw: int) -> dict[str, Block]:
        """Expansion, pool, a mixing layer without batch norm, classifier (Howard et al. 2019, figure 5)."""
        expanded, mixed = self._head_chs
        return {
            "final_expand": Conv(chs, expanded, hw, 1, 1, "hswish"),
            "pool": Pool(expanded, expanded, hw),
            "feature_mix": Conv(expanded, mixed, 1, 1, 1, "hswish", norm=False),
            "classifier": Linear(mixed, self.classes, 1),
        }


def build(width: float, resolutions: tuple[int, ...], classes: int | None) -> MobileNetV3Space:
    """OFA's MobileNetV3 space at a width multiplier; 224 pixels and 1000 classes where nothing else is asked."""
    stem, *widths, expanded, mixed = (make_divisible(chs * width) for chs in (16, 24, 40, 80, 112, 160, 960, 1280))
    rows = zip(widths, (2, 2, 2, 1, 2), (False, True, False, True, True), (0, 0, 1, 1, 1), strict=True)
    return MobileNetV3Space(
        "ofa-mbv3" if width == 1 else f"ofa-mbv3@{width:g}",
        resolutions=resolutions or (224,),
        image_chs=3,
        stem_chs=stem,
        stages=tuple(Stage(chs, stride, se, "hswish" if h else "relu") for chs, stride, se, h in rows),
        depths=(2, 3, 4),
        head_chs=(expanded, mixed),
        classes=classes or 1000,
    )
