"""What a training run is: a `TrainPlan`, and the learning rate that follows from it."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from profilers.errors import InvalidInputError, UnknownNameError

OPTIMIZERS: Final = ("sgd", "adamw")


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """Everything that decides what a training run ends with; with `time_s`, the speed of the machine does so, too.

    Raises InvalidInputError for settings that no run can have.
    """

    recipe: str = "sandwich"
    steps: int = 1000  # without meaning if there is `time_s`
    time_s: float = 0.0  # as many steps as fit into so many seconds
    batch: int = 64  # images a step, of all processes together
    accumulate: int = 1  # parts that a process takes its share of the batch in
    optimizer: str = "sgd"
    lr: float = 0.3
    warmup: float = 0.04  # of the training
    momentum: float = 0.9  # of AdamW, the first of its betas
    weight_decay: float = 3e-5
    label_smoothing: float = 0.0
    mixup: float = 0.0  # how strongly images are blended in pairs: of Beta(mixup, mixup)
    randaugment: bool = False
    clip_norm: float = 0.0  # the largest norm that gradients may have; 0 for any
    ema: float = 0.0  # how much of the averaged weights stays in a step; 0 for no averaging
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UnknownNameError("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("warmup", "label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInputError(f"{name} is {getattr(self, name):g}: it is a share, from 0 to below 1")

    def like(self, settings: Mapping[str, Any]) -> bool:
        """Whether a training with these settings is one like this, for another number of steps or another time."""
        long = {name: settings.get(name) for name in ("steps", "time_s")}
        return all(type(value) in (int, float) for value in long.values()) and settings == asdict(self) | long


def check_memory(batch: int, shape: tuple[int, int, int]) -> None:
    """Raise InvalidInputError for a batch of images (C, H, W) that alone takes half of the machine's memory."""
    taken, there = 4 * batch * math.prod(shape), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if taken > there / 2:
        raise InvalidInputError(
            f"a batch of {batch} images of {'x'.join(map(str, shape))} takes {taken / 1e9:.1f} GB, and this machine "
            f"has {there / 1e9:.1f} GB: choose a smaller --batch"
        )


def usual(optimizer: str) -> dict[str, Any]:
    """The learning rate and the weight decay that are used with an optimizer where none are given."""
    return {"lr": 0.003, "weight_decay": 0.05} if optimizer == "adamw" else {}


def learning_rate(plan: TrainPlan, before: float, after: float) -> float:
    """That of a step from progress `before` to `after`, 0 to 1.

    Linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017, equation 5).
    """
    if before < plan.warmup:
        return plan.lr * min(1.0, after / plan.warmup)
    return plan.lr * 0.5 * (1 + math.cos(math.pi * (before - plan.warmup) / (1 - plan.warmup)))


class Pace:
    """How far a run gets by its next step: a share of its steps, or of its time.

    Time is that of the training itself, with its checkpoints: of a run that was broken, what is kept of it counts.
    A run by time ends with a step that reaches 1 although another one might just have been in time.
    """

    def __init__(self, plan: TrainPlan, seconds: float) -> None:
        self._plan = plan
        self._begun = time.monotonic() - seconds
        self._asked: list[float] = []  # when, for the last few steps

    @property
    def seconds(self) -> float:
        """How long the run has taken."""
        return time.monotonic() - self._begun

    def after(self, steps: int, before: float) -> float:
        """The progress that step number `steps` leads to; asked before every step."""
        if not self._plan.time_s:
            return (steps + 1) / self._plan.steps
        self._asked = [*self._asked[-5:], self.seconds]
        took = [end - begin for begin, end in zip(self._asked, self._asked[1:], strict=False)] or [0.0]
        usual_s = median(took)  # a single step that takes long, like the first on a GPU, must not end a training early
        # Of two steps more, the second might end too late, even if each takes half as long again as usual.
        if self._asked[-1] + 3 * usual_s >= self._plan.time_s:
            return 1.0
        return max(before, (self._asked[-1] + usual_s) / self._plan.time_s)
