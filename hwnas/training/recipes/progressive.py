"""Progressive shrinking (once-for-all, Cai et al. 2020, section 3.3 and appendix A).

The largest net is trained first; then kernels, depths and expansions become elastic, one after the other, so that small
subnets begin from weights that are good already and disturb the large ones little. From the second phase on, subnets
learn from the labels and from the largest net as the first phase left it, in equal parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from hwnas.nets.supernet import Supernet
from hwnas.space import SearchSpace
from hwnas.training.channels import sort_channels
from hwnas.training.objective import learn, resized
from lut.blocks import MBConv


@dataclass(frozen=True)
class Phase:
    """A part of the training that begins at `start`, with so many subnets a step."""

    start: float
    subnets: int
    lr_scale: float


# Lengths are those of the paper's epochs (180, 125, 25, 125, 25, 125). The paper begins a cosine anew in each phase, at
# rates of 2.6, 0.96, 0.08, 0.24, 0.08 and 0.24; by these scales one cosine over the whole training begins each phase at
# the same ratio to the first.
PHASES: Final = (
    Phase(0.00, 1, 1.0),
    Phase(0.30, 1, 0.46),
    Phase(0.50, 2, 0.061),
    Phase(0.55, 2, 0.22),
    Phase(0.75, 4, 0.21),
    Phase(0.80, 4, 0.96),
)
# By the last part of a dimension's name: the phases from which it takes its two largest choices, and all of them.
# What is not named here, as the resolution, is elastic from the first step on.
ELASTIC: Final = {"kernel": (1, 1), "depth": (2, 3), "expand": (4, 5)}
NARROWING: Final = ELASTIC["expand"]


class Progressive:
    """Trains subnets of what the current phase allows."""

    last_phase = PHASES[-1].start

    def __init__(self) -> None:
        self._teacher: dict[str, Tensor] = {}

    def backward(
        self, net: Supernet, images: Tensor, labels: Tensor, progress: float, rng: np.random.Generator
    ) -> Mapping[str, float]:
        """Add one step's gradients: images (B, C, H, W), labels (B,) or (B, classes)."""
        phase = phase_of(progress)
        targets = (labels, self._soft_labels(net, images)) if phase else (labels,)
        least = least_choices(net.space, phase)
        rows = net.space.canonical(rng.integers(least, net.space.sizes, (PHASES[phase].subnets, len(least))))
        losses = [learn(net, net.space.arch(row), images, *targets) for row in rows]
        return {"random": sum(losses) / len(losses)}

    def lr_scale(self, progress: float) -> float:
        """The phase's."""
        return PHASES[phase_of(progress)].lr_scale

    def begin(self, net: Supernet, before: float, after: float) -> bool:
        """Sort channels by importance at the last step before expansions shrink, which does not notice; True if so."""
        done, next_ = phase_of(before), phase_of(after)
        if not any(done < phase <= next_ for phase in NARROWING):
            return False
        sort_channels(net, _widths(net.space, done))
        return True

    def state(self) -> dict[str, Tensor]:
        """The teacher's weights, once there is one."""
        return self._teacher

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the teacher's weights; raises ValueError if they are not even named like a net's."""
        if any(not name.startswith("slots.") for name in tensors):
            raise ValueError("the teacher's weights have other names than a supernet's")
        self._teacher = dict(tensors)

    @torch.no_grad()
    def _soft_labels(self, net: Supernet, images: Tensor) -> Tensor:
        """What the largest net predicts with the weights of the first phase's end, (B, classes).

        With batch statistics, as the paper's code has it: running ones lag behind, and belong to all subnets at once.
        """
        if not self._teacher:
            self._teacher = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
        self._teacher = {name: tensor.to(images.device) for name, tensor in self._teacher.items()}
        largest = net.space.largest
        logits: Tensor = functional_call(net, self._teacher, (resized(images, net.space.resolution(largest)), largest))
        return logits.softmax(dim=1)


def phase_of(progress: float) -> int:
    """The number of the phase that a training is in."""
    return sum(progress >= phase.start for phase in PHASES) - 1


def least_choices(space: SearchSpace, phase: int) -> NDArray[np.intp]:
    """The first choice of each dimension that a phase may take, (dims,)."""
    least = []
    for dimension, size in zip(space.dimensions, space.sizes, strict=True):
        two, all_ = ELASTIC.get(dimension.name.rpartition(".")[2], (0, 0))
        least.append(0 if phase >= all_ else max(0, size - 2) if phase >= two else size - 1)
    return np.array(least, np.intp)


def _widths(space: SearchSpace, phase: int) -> dict[str, set[int]]:
    """By slot, the expanded widths that subnets of a phase have."""
    least, most = least_choices(space, phase), np.array(space.sizes) - 1
    widths: dict[str, set[int]] = {}
    for choice in range(max(space.sizes)):
        narrowed = np.array([d.name.endswith(".expand") for d in space.dimensions])
        row = np.where(narrowed, np.clip(choice, least, most), most)
        for slot, block in space.layers(space.arch(row)).items():
            if isinstance(block, MBConv) and block.mid_chs != block.in_chs:
                widths.setdefault(slot, set()).add(block.mid_chs)
    return widths


def build() -> Progressive:
    """The recipe, without a teacher yet."""
    return Progressive()
