"""The steps commands are made of: a profiled table, a trained supernet; made on the way where they are missing."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hwnas.cli.display import ProgressDisplay, say, say_of
from hwnas.pricing import latency_model, profile_command
from hwnas.profiling import ProfileSummary, profile
from hwnas.progress import Report
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from hwnas.workspace import Workspace
from lut.table import LatencyTable
from profilers.configuration import find_device
from profilers.device import Device, fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import PLANS, Plan
from profilers.profiler import open_profiler

if TYPE_CHECKING:
    from hwnas.training.evaluate import SubnetEvaluator
    from hwnas.training.loop import TrainPlan
    from hwnas.training.weights import TrainedSupernet


@dataclass(frozen=True)
class Job:
    """What most commands are about: a device, a space and a data set in a workspace."""

    workspace: Workspace
    device: Device
    space: SearchSpace
    data: str = "digit-pairs"

    @classmethod
    def of(
        cls,
        workspace: Path,
        device: str,
        runtime: str | None,
        precision: str | None,
        space: str,
        resolutions: tuple[int, ...],
        data: str,
        cooldown_s: float | None = None,
    ) -> "Job":
        """The job a command's options describe; raises UnknownNameError for names that are not known."""
        found = find_device(device, workspace, runtime, precision)
        found = found if cooldown_s is None else replace(found, cooldown_s=cooldown_s)
        return cls(Workspace(workspace), found, open_space(space, resolutions=resolutions), data)

    @property
    def table_path(self) -> Path:
        """Where the device's table is."""
        return self.workspace.table(self.device)

    def table(self) -> LatencyTable:
        """The device's table; raises InvalidInputError if there is none, or if it was measured on another machine.

        A device at the far end of a connection is not asked what it is: pricing needs no device.
        """
        table = LatencyTable.read(self.table_path)
        if self.device.connect == "local":
            table.check_origin(fingerprint(self.device))
        return table


def run_profile(job: Job, plan: Plan, report: Report) -> ProfileSummary:
    """Profile the job's space on its device."""
    with open_profiler(job.device, say_of(job.device.name)) as profiler:
        table = LatencyTable.open(job.table_path, job.device.name, profiler.fingerprint())
        return profile(job.space, profiler, table, plan, report)


def ready_table(job: Job, *, auto: bool) -> LatencyTable:
    """The job's table with everything a latency model needs, profiled first where it is missing and `auto`."""
    if job.table_path.exists():
        table = job.table()  # a damaged or foreign one is not mended by measuring
        try:
            latency_model(table, job.space)
            return table
        except InvalidInputError:
            if not auto:
                raise
    elif not auto:
        command = profile_command(job.device.name, job.device.runtime, job.device.precision, job.space)
        raise InvalidInputError(f"{job.device.name} was not profiled yet; measure with: {command}")
    plan = PLANS["default"]
    say(
        f"{job.device.name} is not profiled for {job.space.name} yet: measuring {len(job.space.vocabulary)} blocks "
        f"and some whole nets, about {plan.time_limit_s:.0f} s for each batch of them"
    )
    with ProgressDisplay() as display:
        run_profile(job, plan, display)
    return job.table()


def run_training(job: Job, plan: "TrainPlan", *, restart: bool) -> "TrainedSupernet":
    """Train the job's supernet, or go on training it, showing progress; what is trained already is not touched."""
    from hwnas.nets.supernet import Supernet
    from hwnas.training.datasets import open_dataset
    from hwnas.training.loop import train
    from hwnas.training.weights import save_supernet

    dataset = open_dataset(job.data, plan.seed)
    space = fitting_space(job, dataset.shape, len(dataset.classes))
    path = job.workspace.supernet(space.name, job.data)
    checkpoint = job.workspace.checkpoint(space.name, job.data)
    if restart:
        path.unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)
    if path.exists():
        trained = _load(job, path)
        if trained.plan != asdict(plan):
            raise InvalidInputError(f"{path} was trained with other settings: give --restart to train it anew")
        return trained
    net = Supernet(space, plan.seed)
    with ProgressDisplay() as display:
        train(net, dataset, plan, checkpoint, report=display)
    save_supernet(net, path, data=job.data, plan=asdict(plan))
    checkpoint.unlink(missing_ok=True)
    return _load(job, path)


def ready_supernet(job: Job, *, auto: bool) -> "TrainedSupernet":
    """The job's trained supernet, trained first where it is missing and `auto`."""
    from hwnas.training.loop import TrainPlan

    path = job.workspace.supernet(job.space.name, job.data)
    if not path.exists():
        if not auto:
            raise InvalidInputError(
                f"there is no supernet of {job.space.name} yet; train with: hwnas train --data {job.data} "
                f"--space {job.space.name}"
            )
        plan = TrainPlan()
        say(f"there is no supernet of {job.space.name} yet: training {plan.steps} steps, some minutes on two cores")
        return run_training(job, plan, restart=False)
    return _load(job, path)


def _load(job: Job, path: Path) -> "TrainedSupernet":
    from hwnas.training.weights import load_supernet

    trained = load_supernet(path)
    if trained.net.space.name != job.space.name:
        raise InvalidInputError(f"{path} holds a supernet of {trained.net.space.name}, not of {job.space.name}")
    if trained.data != job.data:
        raise InvalidInputError(f"{path} was trained on {trained.data}, not on {job.data}")
    return trained


def evaluator_of(job: Job, trained: "TrainedSupernet") -> "SubnetEvaluator":
    """What judges the subnets of a trained supernet, with all it has judged before."""
    from hwnas.training.datasets import open_dataset
    from hwnas.training.evaluate import SubnetEvaluator

    log = job.workspace.evaluations(trained.path, trained.sha256)
    return SubnetEvaluator(trained, open_dataset(trained.data, trained.seed), log)


def fitting_space(job: Job, shape: tuple[int, int, int], classes: int) -> SearchSpace:
    """The job's space with the data set's classes; raises InvalidInputError if its images do not fit."""
    chs, height, width = shape
    space = open_space(job.space.name, resolutions=job.space.resolutions, classes=classes)
    if (chs, height, width) != (space.image_chs, space.resolutions[-1], space.resolutions[-1]):
        raise InvalidInputError(
            f"{job.data} has images of {chs}x{height}x{width}; {space.name} takes {space.image_chs} channels of "
            f"{'/'.join(map(str, space.resolutions))} pixels: choose another --space, --data or --resolution"
        )
    return space
