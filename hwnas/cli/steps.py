"""The steps commands are made of: a profiled table, a trained supernet; made on the way where they are missing."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hwnas.cli.display import ProgressDisplay, say
from hwnas.pricing import latency_model, profile_command
from hwnas.profiling import ProfileSummary, profile
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from hwnas.workspace import Workspace
from lut.table import LatencyTable
from profilers.device import Device, find_device, fingerprint
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
    ) -> "Job":
        """The job a command's options describe; raises UnknownNameError for names that are not known."""
        found = find_device(device, workspace, runtime, precision)
        return cls(Workspace(workspace), found, open_space(space, resolutions=resolutions), data)

    @property
    def table_path(self) -> Path:
        """Where the device's table is."""
        return self.workspace.table(self.device)

    def table(self) -> LatencyTable:
        """The device's table, begun if there is none."""
        return LatencyTable.open(self.table_path, self.device.name, fingerprint(self.device))


def run_profile(job: Job, plan: Plan) -> ProfileSummary:
    """Profile the job's space on its device, showing progress."""
    with open_profiler(job.device) as profiler, ProgressDisplay() as display:
        return profile(job.space, profiler, job.table(), plan, display)


def ready_table(job: Job, *, auto: bool) -> LatencyTable:
    """The job's table with everything a latency model needs, profiled first where it is missing and `auto`."""
    if not auto and not job.table_path.exists():
        command = profile_command(job.device.name, job.device.runtime, job.device.precision, job.space)
        raise InvalidInputError(f"{job.device.name} was not profiled yet; measure with: {command}")
    table = job.table()  # a damaged or foreign one is not mended by measuring
    try:
        latency_model(table, job.space)
    except InvalidInputError:
        if not auto:
            raise
        plan = PLANS["default"]
        say(
            f"{job.device.name} is not profiled for {job.space.name} yet: measuring {len(job.space.vocabulary)} blocks "
            f"and some whole nets, at most {plan.time_limit_s:.0f} s for each batch of them"
        )
        run_profile(job, plan)
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
