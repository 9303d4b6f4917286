"""A training run between two steps: all that decides how it goes on, and the checkpoint that holds it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from hwnas.nets.supernet import Supernet
from hwnas.training.datasets import Dataset, canonical
from hwnas.training.distributed import Processes
from hwnas.training.plan import TrainPlan
from hwnas.training.precision import Precision
from hwnas.training.recipes import Finishing, Recipe, Remembering
from hwnas.training.weights import compare_data, data_facts, read_tensors, unusable
from lut.storage import write_atomically
from profilers.errors import InvalidInputError, first_line
from profilers.reading import Fields

NOT_DESCRIBED = ("plan", "scaler", "class_names", "listing")  # of a checkpoint's header
EMA_BEGINS = 10  # the average follows weights that have only begun to learn more closely


@dataclass(frozen=True)
class Begun:
    """The finished supernet that a training goes on from."""

    supernet: str  # SHA-256 of its file
    steps: int  # it was trained for
    parts: list[dict[str, Any]]  # what its header says of the trainings these were taken in


@dataclass
class Run:
    """What a step begins with. A step depends on its number beside, so no random state is kept."""

    net: Supernet
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    precision: Precision
    ema: float
    identity: dict[str, Any]  # what a checkpoint must be of
    dataset: Dataset | None = None  # whose classes a checkpoint must have been trained on
    average: dict[str, Tensor] = field(default_factory=dict)  # of the weights, if `ema`
    averaged: int = 0  # steps that are in the average
    step: int = 0  # those of earlier trainings counted
    progress: float = 0.0  # of this training
    seconds: float = 0.0

    @classmethod
    def begin(
        cls,
        net: Supernet,
        recipe: Recipe,
        plan: TrainPlan,
        precision: Precision,
        data: str,
        begun: Begun | None = None,
        dataset: Dataset | None = None,
    ) -> Self:
        """A run on the data set called `data`, before its first step; checkpoints tell of the classes of `dataset`."""
        identity = {
            "space": net.space.name,
            "data": data,
            "plan": asdict(plan),
            "begun": asdict(begun) if begun else None,
        }
        run = cls(net, recipe, optimizer_of(net, plan), precision, plan.ema, identity, dataset)
        run.step = begun.steps if begun else 0
        run.forget_steps()
        return run

    @property
    def begun_at(self) -> int:
        """How many steps earlier trainings had taken."""
        return int(self.identity["begun"]["steps"]) if self.identity["begun"] else 0

    @property
    def steps(self) -> int:
        """How many steps this training has taken."""
        return self.step - self.begun_at

    def phase(self, progress: float) -> float:
        """The progress that the recipe is told: a net that was trained before stays in the last phase."""
        if not (self.begun_at and isinstance(self.recipe, Finishing)):
            return progress
        return self.recipe.last_phase + (1 - self.recipe.last_phase) * progress

    def forget_steps(self) -> None:
        """Drop what depends on earlier weights: momentum and the average."""
        self.optimizer.state.clear()
        self.averaged = 0
        if self.ema:
            self.average = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def update(self, lr: float, clip_norm: float) -> None:
        """Take the optimizer's step with the gradients that are there, and move the average towards the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.precision.scaler.unscale_(self.optimizer)
        if clip_norm:
            nn.utils.clip_grad_norm_(self.net.parameters(), clip_norm)
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()
        if self.ema:
            self._take_average()

    def _take_average(self) -> None:
        """(Polyak & Juditsky 1992, as an exponential average.)"""
        self.averaged += 1
        kept = min(self.ema, self.averaged / (EMA_BEGINS + self.averaged))
        for name, tensor in self.net.state_dict().items():
            self.average[name].lerp_(tensor, 1 - kept)

    @contextmanager
    def averaged_net(self) -> Iterator[Supernet]:
        """The net with the weights that are judged and shipped: their average, if there is one; then as it was."""
        if not self.ema:
            yield self.net
            return
        weights = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}
        self.net.load_state_dict(self.average)
        try:
            yield self.net
        finally:
            self.net.load_state_dict(weights)

    def finite(self) -> bool:
        """Whether all weights are numbers that training can go on from."""
        return all(bool(tensor.isfinite().all()) for tensor in self.net.state_dict().values())

    def write(self, path: Path) -> None:
        """Keep the run in a checkpoint, atomically."""
        write_atomically(path, save(self._tensors(), {"hwnas": json.dumps(self.identity | self._facts())}))

    def resume(self, path: Path, processes: Processes) -> None:
        """Go on from a checkpoint, if there is one; the first process reads it.

        Raises InvalidInputError if it is damaged, of another run, or of other classes; warns of other images.
        """
        found, state = read_tensors(path) if processes.first and path.exists() else ({}, {})
        state = json.loads(processes.shared(json.dumps(state).encode()))
        if not state:
            return
        tensors = found if processes.alone else load(processes.shared(save(found)))
        found_identity = {key: state.get(key) for key in self.identity}
        if isinstance(found_identity["data"], str):
            found_identity["data"] = canonical(found_identity["data"])  # earlier versions kept paths as they were typed
        if found_identity != self.identity:
            raise InvalidInputError(
                f"{path} is a checkpoint of another training run ({_described(state)}): finish that one with its own "
                "settings, remove that file, or give --restart to train anew"
            )
        if self.dataset:
            names, listing = state.get("class_names"), state.get("listing")
            known = tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()
            compare_data(path, known, listing if isinstance(listing, str) else "", self.dataset)
        try:
            self._load(tensors, state)
        except (InvalidInputError, IndexError, KeyError, OverflowError, TypeError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"{path} is damaged ({first_line(error)}): remove that file, or give --restart to train anew"
            ) from error

    def _facts(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "progress": self.progress,
            "seconds": self.seconds,
            "averaged": self.averaged,
            "scaler": self.precision.scaler.state_dict(),
            **(data_facts(self.dataset) if self.dataset else {}),
        }

    def _tensors(self) -> dict[str, Tensor]:
        groups = {"net": self.net.state_dict(), "average": self.average, "recipe": {}}
        if isinstance(self.recipe, Remembering):
            groups["recipe"] = self.recipe.state()
        for index, values in self.optimizer.state_dict()["state"].items():
            groups[f"optimizer.{index}"] = values
        return {
            f"{group}.{name}": tensor.detach().cpu().contiguous()
            for group, tensors in groups.items()
            for name, tensor in tensors.items()
        }

    def _load(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        groups: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "recipe": {}, "optimizer": {}}
        for key, tensor in tensors.items():
            group, _, name = key.partition(".")
            groups[group][name] = tensor
        self._load_facts(state)
        if wrong := unusable(groups["net"]) or unusable(groups["average"]) or _not_finite(groups["recipe"]):
            raise ValueError(wrong)
        self.net.load_state_dict(groups["net"])
        if {name: tensor.shape for name, tensor in groups["average"].items()} != {
            name: tensor.shape for name, tensor in self.average.items()
        }:
            raise ValueError("the averaged weights are not those of the net")
        for name, tensor in groups["average"].items():
            self.average[name].copy_(tensor)
        self._load_optimizer(groups["optimizer"])
        if isinstance(self.recipe, Remembering):
            self.recipe.load_state(groups["recipe"])

    def _load_facts(self, state: dict[str, Any]) -> None:
        facts = Fields(state, "its header")
        self.step, self.averaged = facts.integer("step", self.begun_at), facts.integer("averaged", 0)
        self.progress, self.seconds = facts.number("progress", 0, 1), facts.number("seconds", 0)
        plan = self.identity["plan"]
        if not plan["time_s"] and abs(self.progress - self.steps / plan["steps"]) > 1e-9:
            raise ValueError(f"progress {self.progress:g} is not that of step {self.step}")
        self.precision.scaler.load_state_dict(dict(facts.record("scaler").values))

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        # torch checks neither names nor shapes: a wrong one would be an error of the next step.
        params = [param for group in self.optimizer.param_groups for param in group["params"]]
        adamw = isinstance(self.optimizer, torch.optim.AdamW)
        known = {"step", "exp_avg", "exp_avg_sq"} if adamw else {"momentum_buffer"}
        values: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            index, _, name = key.partition(".")
            shape = () if name == "step" else params[int(index)].shape
            if name not in known or tensor.shape != shape or not tensor.is_floating_point():
                raise ValueError(f"{name} of the optimizer is not that of the net")
            values.setdefault(int(index), {})[name] = tensor
        if any(found.keys() != known for found in values.values()):
            raise ValueError("the optimizer's state is not complete")
        if wrong := _not_finite(tensors):
            raise ValueError(wrong)
        self.optimizer.load_state_dict({"state": values, "param_groups": self.optimizer.state_dict()["param_groups"]})


def _not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Which of the tensors holds values that are no finite numbers, in words; "" if none does."""
    bad = (name for name, tensor in tensors.items() if not bool(tensor.float().isfinite().all()))
    return "".join(f"{name} holds values that are no finite numbers" for name in islice(bad, 1))


def optimizer_of(net: nn.Module, plan: TrainPlan) -> torch.optim.Optimizer:
    """The optimizer of a plan, for all parameters of a net."""
    # No decay on norms, biases and kernel transforms: decay would pull the transforms away from the identity.
    decayed = [p for p in net.parameters() if p.ndim == 4]
    others = [p for p in net.parameters() if p.ndim != 4]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=plan.lr, betas=(plan.momentum, 0.999))
    return torch.optim.SGD(groups, lr=plan.lr, momentum=plan.momentum, nesterov=plan.momentum > 0)


def _described(state: dict[str, Any]) -> str:
    plan = state.get("plan")
    settings = {**state, **(plan if isinstance(plan, dict) else {})}
    return ", ".join(f"{key} {value}" for key, value in settings.items() if key not in NOT_DESCRIBED)
