"""The training loop: steps, schedule, checkpoints. Killed at any moment, the same call goes on where it was.

A step depends on its number and progress alone: the batch and the random subnets are drawn from (seed, step), so no
random state is kept, and a resumed run sees what an unbroken one would have seen.
"""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.progress import Report, silent
from hwnas.training.datasets import Dataset
from hwnas.training.distributed import ALONE, Processes
from hwnas.training.evaluate import to_tensors
from hwnas.training.metrics import Journal
from hwnas.training.mixing import mixed
from hwnas.training.objective import smoothed
from hwnas.training.plan import Pace, TrainPlan, learning_rate
from hwnas.training.precision import Precision
from hwnas.training.prefetch import prefetched
from hwnas.training.probe import Probe
from hwnas.training.recipes import Staged, open_recipe
from hwnas.training.run import Begun, Run
from hwnas.training.shares import Share
from profilers.errors import InvalidInputError


def train(
    net: Supernet,
    dataset: Dataset,
    plan: TrainPlan,
    checkpoint: Path,
    *,
    begun: Begun | None = None,
    resume: bool = True,
    every_s: float = 20.0,
    report: Report = silent,
    journal: Journal | None = None,
    probe: Probe | None = None,
    processes: Processes = ALONE,
    workers: int = 0,
) -> int:
    """Train `net` in place, keeping `checkpoint` no older than `every_s` seconds; returns the number of steps.

    A net that is `begun` has been trained before: numbers of steps go on, rates begin with another warm-up, and a
    recipe with phases stays in its last one. Goes on from `checkpoint` if there is one, unless `resume` says not to: it
    is then replaced by the first that is written. Of several `processes` each calls this; the first one alone writes,
    and needs a report, a journal and a probe. So many `workers` make its batches ahead. Raises InvalidInputError if
    the checkpoint is of another run, if the batch cannot be shared evenly, or if the loss or the weights are no
    longer finite.
    """
    check_shares(plan, processes)
    recipe, mode, place = open_recipe(plan.recipe), net.training, next(net.parameters()).device
    precision = Precision.best(processes.device)
    run = Run.begin(net.to(processes.device).train(), recipe, plan, precision, dataset.name, begun, dataset)
    if resume:
        run.resume(checkpoint, processes)
    journal, pace, saved_at = journal or Journal(), Pace(plan, run.seconds), time.monotonic()
    share = Share(dataset, processes.rank, processes.world)
    with run.precision.scaling(net), journal.open(run.step), prefetched(share, workers) as data:
        while run.progress < 1:
            before, after = run.progress, processes.agreed(pace.after(run.steps, run.progress))
            figures, losses = _step(run, plan, data, after, processes)
            due = processes.first and (after == 1 or time.monotonic() - saved_at > every_s)
            # A finite loss can have gradients that are not: what is kept must be weights that training can go on from.
            if not math.isfinite(sum(losses.values())) or (due and not run.finite()):
                raise InvalidInputError(
                    f"training diverged at step {run.step} (loss {_listed(losses)}): give --restart and a lower --lr "
                    f"than {plan.lr:g}; {checkpoint} is as it was before"
                )
            if probe and probe.due(before, after):
                with run.averaged_net() as averaged:
                    figures |= {f"accuracy {name}": share for name, share in probe.look(averaged).items()}
            run.seconds = pace.seconds
            journal.note(run.step, figures | {"seconds": run.seconds})
            report("train", after, _note(run, plan, losses, probe))
            if due:
                run.write(checkpoint)
                saved_at = time.monotonic()
    if run.ema:
        net.load_state_dict(run.average)
    net.to(place).train(mode)
    return run.step


def check_shares(plan: TrainPlan, processes: Processes) -> None:
    """Raise InvalidInputError if the batches cannot be cut into equal shares."""
    if plan.batch % (processes.world * plan.accumulate):
        raise InvalidInputError(
            f"a batch of {plan.batch} images cannot be cut evenly for {processes.world} processes with "
            f"{plan.accumulate} parts each: choose another --batch"
        )


def _step(
    run: Run, plan: TrainPlan, dataset: Dataset, after: float, processes: Processes
) -> tuple[dict[str, float], dict[str, float]]:
    """Take a step that leads to progress `after`: figures for the journal, and the losses."""
    begun, before, lr = time.monotonic(), run.progress, learning_rate(plan, run.progress, after)
    if isinstance(run.recipe, Staged):
        if run.recipe.begin(run.net, run.phase(before), run.phase(after)):
            run.forget_steps()
        lr *= run.recipe.lr_scale(run.phase(before))
    run.optimizer.zero_grad(set_to_none=True)
    losses: dict[str, float] = {}
    with run.precision.autocast(), processes.norms():
        for images, labels in _parts(dataset, plan, run.step, processes.device):
            rng = np.random.default_rng([plan.seed, run.step])  # every part and every process trains the same subnets
            for name, loss in run.recipe.backward(run.net, images, labels, run.phase(before), rng).items():
                losses[name] = losses.get(name, 0.0) + loss / plan.accumulate
    processes.average_gradients(run.net, plan.accumulate)
    run.update(lr, plan.clip_norm)
    run.step, run.progress = run.step + 1, after
    losses = processes.mean(losses)
    speed = plan.batch / (time.monotonic() - begun)
    return {"lr": lr, **{f"loss {name}": loss for name, loss in losses.items()}, "images/s": speed}, losses


def _parts(dataset: Dataset, plan: TrainPlan, step: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """A process' share of a batch, in parts: images (b, C, H, W) and labels, (b,) or soft ones (b, classes)."""
    images, labels = (tensor.to(device) for tensor in to_tensors(dataset.batch("train", step, plan.batch)))
    if plan.label_smoothing or plan.mixup:
        labels = smoothed(labels, len(dataset.classes), plan.label_smoothing)
    if plan.mixup:
        images, labels = mixed(images, labels, plan.mixup, np.random.default_rng([plan.seed, step, 1]))
    size = len(images) // plan.accumulate
    yield from zip(images.split(size), labels.split(size), strict=True)


def _note(run: Run, plan: TrainPlan, losses: Mapping[str, float], probe: Probe | None) -> str:
    seen = f"; accuracy {_percent(probe.seen)}" if probe and probe.seen else ""
    return f"step {run.step}{'' if plan.time_s else f' of {run.begun_at + plan.steps}'}; loss {_listed(losses)}{seen}"


def _listed(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items())


def _percent(accuracies: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in accuracies.items())
