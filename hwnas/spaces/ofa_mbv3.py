"""The once-for-all MobileNetV3 space (Cai et al., ICLR 2020, section 4.1), and the family it belongs to.

Five stages of two to four inverted residuals; each block chooses its kernel and its expansion. At width 1 and
one resolution the vocabulary is 96 blocks: 90 searchable ones, stem, first block, and four of the head.
"""

from dataclasses import dataclass

from hwnas.arch import Arch
from hwnas.space import Dimension, SearchSpace
from lut.blocks import Block, Conv, Linear, MBConv, Pool
from lut.layers import Act, make_divisible


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; the first of them has the stride."""

    out_chs: int
    stride: int
    se: bool
    act: Act


class MobileNetV3Space(SearchSpace):
    """Stem, a fixed first block, stages of elastic inverted residuals, and a head in four parts."""

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
        self.name, self.classes, self.image_chs, self.resolutions = name, classes, image_chs, resolutions
        self._stem_chs, self._first_stride, self._stages, self._head_chs = stem_chs, first_stride, stages, head_chs
        found = [Dimension("resolution", resolutions, self._slots(max(depths)))]
        for s in range(1, len(stages) + 1):
            slots = tuple(f"s{s}b{b}" for b in range(1, max(depths) + 1))
            found.append(Dimension(f"s{s}.depth", depths, slots))
            for slot in slots:
                found.append(Dimension(f"{slot}.kernel", kernels, (slot,)))
                found.append(Dimension(f"{slot}.expand", expands, (slot,)))
        self.dimensions = tuple(found)

    def resolution(self, arch: Arch) -> int:
        """Height and width of the images."""
        return arch.values[0]

    def layers(self, arch: Arch) -> dict[str, Block]:
        """The blocks of an architecture by slot, in the order they run."""
        values = iter(arch.values)
        stem = Conv(self.image_chs, self._stem_chs, next(values), 3, 2, "hswish")
        chs = self._stem_chs
        first = MBConv(chs, chs, stem.out_hw, chs, 3, self._first_stride, False, "relu")
        found: dict[str, Block] = {"stem": stem, "first": first}
        hw = first.out_hw
        for s, stage in enumerate(self._stages, 1):
            depth, slots = next(values), self.dimensions[self._depth_dim(s)].slots
            for b, slot in enumerate(slots):
                kernel, expand = next(values), next(values)
                if b < depth:
                    mid, stride = make_divisible(chs * expand), stage.stride if b == 0 else 1
                    block = MBConv(chs, stage.out_chs, hw, mid, kernel, stride, stage.se, stage.act)
                    found[slot], chs, hw = block, block.out_chs, block.out_hw
        expanded, mixed = self._head_chs
        found["final_expand"] = Conv(chs, expanded, hw, 1, 1, "hswish")
        found["pool"] = Pool(expanded, expanded, hw)
        found["feature_mix"] = Conv(expanded, mixed, 1, 1, 1, "hswish", norm=False)
        found["classifier"] = Linear(mixed, self.classes, 1)
        return found

    def _depth_dim(self, stage: int) -> int:
        searchable = (len(self.dimensions) - 1) // len(self._stages)
        return 1 + (stage - 1) * searchable

    def _slots(self, depth: int) -> tuple[str, ...]:
        stages = range(1, len(self._stages) + 1)
        elastic = [f"s{s}b{b}" for s in stages for b in range(1, depth + 1)]
        return ("stem", "first", *elastic, "final_expand", "pool")


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
