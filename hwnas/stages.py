"""Spaces of stages: a stem, a fixed first block, stages of elastic inverted residuals, and a head.

What once-for-all's and ProxylessNAS's spaces have in common. In each stage a depth says how many of its blocks there
are, or each block but the first may be left out, by an expansion of 0.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.arch import Arch
from hwnas.space import Dimension, SearchSpace
from lut.blocks import Block, Conv, MBConv
from lut.layers import Act, make_divisible
from profilers.errors import InvalidInputError


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; the first of them has the stride."""

    out_chs: int
    stride: int
    se: bool
    act: Act


@dataclass(frozen=True)
class Start:
    """The stem, a 3x3 convolution of stride 2, and the first block, which has no expansion."""

    stem_chs: int
    stem_act: Act
    first_chs: int
    first_act: Act
    first_stride: int = 1


class StagedSpace(SearchSpace):
    """A space of stages; a subclass says what its head is.

    `depths` has the choices for each stage; with `skips`, all blocks of a stage but the first may be left out.
    """

    def __init__(
        self,
        name: str,
        *,
        resolutions: tuple[int, ...],
        image_chs: int,
        classes: int,
        start: Start,
        stages: tuple[Stage, ...],
        depths: Sequence[tuple[int, ...]],
        kernels: tuple[int, ...],
        expands: tuple[int, ...],
        skips: bool = False,
    ) -> None:
        self.name, self.classes, self.image_chs, self.resolutions = name, classes, image_chs, resolutions
        self._start, self._stages = start, stages
        self._slots = tuple(
            tuple(f"s{s}b{b}" for b in range(1, max(choices) + 1)) for s, choices in enumerate(depths, 1)
        )
        ends = [slot for slot, block in self.head(8, 7).items() if block.hw > 1]
        sized = ("stem", "first", *(slot for slots in self._slots for slot in slots), *ends)
        found = [Dimension("resolution", resolutions, sized)]
        for s, (slots, choices) in enumerate(zip(self._slots, depths, strict=True), 1):
            if len(choices) > 1:
                found.append(Dimension(f"s{s}.depth", choices, slots))
            for b, slot in enumerate(slots):
                found.append(Dimension(f"{slot}.kernel", kernels, (slot,)))
                found.append(Dimension(f"{slot}.expand", (0, *expands) if skips and b else expands, (slot,)))
        self.dimensions = tuple(found)

    @abstractmethod
    def head(self, chs: int, hw: int) -> dict[str, Block]:
        """The blocks behind the stages by slot, for stages that end in (B, chs, hw, hw)."""

    def resolution(self, arch: Arch) -> int:
        """Height and width of the images."""
        return arch.values[0]

    def layers(self, arch: Arch) -> dict[str, Block]:
        """The blocks of an architecture by slot, in the order they run."""
        chosen = {dimension.name: value for dimension, value in zip(self.dimensions, arch.values, strict=True)}
        start = self._start
        stem = Conv(self.image_chs, start.stem_chs, self.resolution(arch), 3, 2, start.stem_act)
        first = MBConv(
            start.stem_chs, start.first_chs, stem.out_hw, start.stem_chs, 3, start.first_stride, False, start.first_act
        )
        found: dict[str, Block] = {"stem": stem, "first": first}
        chs, hw = first.out_chs, first.out_hw
        for s, (stage, slots) in enumerate(zip(self._stages, self._slots, strict=True), 1):
            for b, slot in enumerate(slots[: chosen.get(f"s{s}.depth", len(slots))]):
                kernel, expand = chosen[f"{slot}.kernel"], chosen[f"{slot}.expand"]
                if expand:
                    mid, stride = make_divisible(chs * expand), stage.stride if b == 0 else 1
                    block = MBConv(chs, stage.out_chs, hw, mid, kernel, stride, stage.se, stage.act)
                    found[slot], chs, hw = block, block.out_chs, block.out_hw
        return found | self.head(chs, hw)

    def arch_of(self, blocks: Sequence[Block]) -> Arch:
        """The architecture that consists of `blocks`; raises InvalidInputError naming the first that no slot takes."""
        chosen, stage, place = {"resolution": blocks[0].hw}, 0, 0
        for block in blocks[2:]:
            if isinstance(block, MBConv):
                begins = block.stride > 1 or block.in_chs != block.out_chs
                stage, place = (stage + 1, 1) if begins else (stage, place + 1)
                chosen[f"s{stage}.depth"] = place
                chosen[f"s{stage}b{place}.kernel"] = block.kernel
                chosen[f"s{stage}b{place}.expand"] = round(block.mid_chs / block.in_chs)
        arch = Arch(self.name, tuple(chosen.get(d.name, d.choices[0]) for d in self.dimensions))
        self.row(arch)  # refuses choices that are not of this space
        mine = list(self.layers(arch).values())
        for number, block in enumerate(blocks):
            if number >= len(mine) or block != mine[number]:
                there = mine[number].key if number < len(mine) else "none"
                raise InvalidInputError(f"block {number} of the net is {block.key}; {self.name} has {there} there")
        if len(blocks) < len(mine):
            raise InvalidInputError(f"the net ends after {len(blocks)} blocks; in {self.name} it has {len(mine)}")
        return arch
