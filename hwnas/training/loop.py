"""The training loop: steps, schedule, checkpoints. Killed at any moment, the same call goes on where it was.

A step depends on its number alone: the batch and the random subnets are drawn from (seed, step), so no random
state is kept, and a resumed run sees what an unbroken one would have seen.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from hwnas.nets.supernet import Supernet
from hwnas.progress import Report, silent
from hwnas.training.datasets import Dataset
from hwnas.training.evaluate import to_tensors
from hwnas.training.recipes import Recipe, open_recipe
from hwnas.training.weights import read_tensors
from lut.storage import write_atomically
from profilers.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """Everything that decides what a training run ends with."""

    recipe: str = "sandwich"
    steps: int = 1000
    batch: int = 64
    lr: float = 0.3
    warmup_steps: int = 40
    momentum: float = 0.9
    weight_decay: float = 3e-5
    seed: int = 0


def train(
    net: Supernet,
    dataset: Dataset,
    plan: TrainPlan,
    checkpoint: Path,
    *,
    every_s: float = 20.0,
    report: Report = silent,
) -> None:
    """Train `net` in place, keeping `checkpoint` no older than `every_s` seconds.

    Goes on from `checkpoint` if there is one; raises InvalidInputError if that is of another run, or if the loss
    or the weights are no longer finite.
    """
    recipe, optimizer = open_recipe(plan.recipe), _optimizer(net, plan)
    identity = {"space": net.space.name, "data": dataset.name, "plan": asdict(plan)}
    start = _resume(net, optimizer, checkpoint, identity) if checkpoint.exists() else 0
    saved_at, net_mode = time.monotonic(), net.training
    net.train()
    for step in range(start, plan.steps):
        losses = _step(net, recipe, optimizer, dataset, plan, step)
        due = step + 1 == plan.steps or time.monotonic() - saved_at > every_s
        # A finite loss can have gradients that are not: what is kept must be weights that training can go on from.
        if not math.isfinite(sum(losses.values())) or (due and not _finite(net)):
            raise InvalidInputError(
                f"training diverged at step {step + 1} (loss {_listed(losses)}): give --restart and a lower --lr "
                f"than {plan.lr:g}; {checkpoint} is as it was before"
            )
        report("train", (step + 1) / plan.steps, f"step {step + 1} of {plan.steps}; loss {_listed(losses)}")
        if due:
            _save(net, optimizer, checkpoint, identity | {"step": step + 1})
            saved_at = time.monotonic()
    net.train(net_mode)


def learning_rate(plan: TrainPlan, step: int) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017, equation 5)."""
    if step < plan.warmup_steps:
        return plan.lr * (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return plan.lr * 0.5 * (1 + math.cos(math.pi * done))


def _step(
    net: Supernet, recipe: Recipe, optimizer: torch.optim.Optimizer, dataset: Dataset, plan: TrainPlan, step: int
) -> dict[str, float]:
    images, labels = to_tensors(dataset.batch("train", step, plan.batch))
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(plan, step)
    optimizer.zero_grad(set_to_none=True)
    rng = np.random.default_rng([plan.seed, step])
    losses = recipe.backward(net, images, labels, step / plan.steps, rng)
    optimizer.step()
    return dict(losses)


def _listed(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items())


def _finite(net: nn.Module) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in net.state_dict().values())


def _optimizer(net: nn.Module, plan: TrainPlan) -> torch.optim.Optimizer:
    # No decay on norms, biases and kernel transforms: decay would pull the transforms away from the identity.
    decayed = [p for p in net.parameters() if p.ndim == 4]
    others = [p for p in net.parameters() if p.ndim != 4]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=plan.lr, momentum=plan.momentum, nesterov=True)


def _save(net: nn.Module, optimizer: torch.optim.Optimizer, path: Path, state: dict[str, Any]) -> None:
    tensors = {f"net.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.contiguous() for name, value in values.items()}
    write_atomically(path, save(tensors, {"hwnas": json.dumps(state)}))


def _resume(net: nn.Module, optimizer: torch.optim.Optimizer, path: Path, identity: dict[str, Any]) -> int:
    tensors, state = read_tensors(path)
    step = state.pop("step", None)
    if state != identity:
        raise InvalidInputError(
            f"{path} is a checkpoint of another training run ({_described(state)}): finish that one with its own "
            "settings, or give --restart to drop it"
        )
    try:
        net.load_state_dict({name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")})
        values: dict[int, dict[str, Tensor]] = {}
        for name in tensors.keys() - {f"net.{name}" for name in net.state_dict()}:
            _, index, key = name.split(".")
            values.setdefault(int(index), {})[key] = tensors[name]
        optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(step)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(f"{path} is damaged ({reason}): give --restart to drop it") from error


def _described(state: dict[str, Any]) -> str:
    plan = state.get("plan")
    settings = {**state, **(plan if isinstance(plan, dict) else {})}
    return ", ".join(f"{key} {value}" for key, value in settings.items() if key != "plan")
