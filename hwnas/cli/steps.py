"""The steps commands are made of: a profiled table, a trained supernet; made on the way where they are missing."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hwnas.cli.display import ProgressDisplay, say, say_of
from hwnas.pricing import latency_model, profile_command
from hwnas.profiling import ProfileSummary, profile
from hwnas.progress import Report, silent
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from hwnas.supernet_headers import SupernetHeader
from hwnas.training.datasets import canonical
from hwnas.workflows import project
from hwnas.workflows.project import DEFAULT_DATA, Project
from hwnas.workspace import Workspace
from lut.storage import write_atomically
from lut.table import LatencyTable
from profilers.configuration import find_device
from profilers.device import Device, fingerprint
from profilers.errors import InvalidInputError
from profilers.installed import check_installed
from profilers.measurement import PLANS, Plan
from profilers.profiler import Profiler, open_profiler

if TYPE_CHECKING:
    from hwnas.training.datasets import Dataset
    from hwnas.training.distributed import Processes
    from hwnas.training.evaluate import SubnetEvaluator
    from hwnas.training.plan import TrainPlan
    from hwnas.training.weights import TrainedSupernet


@dataclass(frozen=True)
class Job:
    """What most commands are about: a device, a space and a data set in a workspace."""

    workspace: Workspace
    device: Device
    space: SearchSpace
    data: str = DEFAULT_DATA  # "" where nobody knows: of imported weights
    supernet: SupernetHeader | None = None  # the one that is there, if it was looked for

    @classmethod
    def resolved(
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
        """The job a command's options describe, its space with the classes of the data or of the supernet.

        Raises what `Project.resolve` raises.
        """
        job = cls.of(workspace, device, runtime, precision, space, resolutions, data, cooldown_s)
        if job.published and not data:
            return job  # its table was made for the space's own number of classes
        found = Project.resolve(job.workspace, space, resolutions, data)
        if found.supernet and found.data not in (data, DEFAULT_DATA, job.data):
            say(f"data {found.data}, as {found.supernet.path} was trained on it")
        return replace(job, space=found.space, data=found.data, supernet=found.supernet)

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
        """The job a command's options describe, its space as it is; raises UnknownNameError for names not known."""
        opened = open_space(space, resolutions=resolutions)
        job = cls(Workspace(workspace), Device(name="any"), opened, canonical(data))
        job = job.on(device, runtime, precision)
        return job if cooldown_s is None else replace(job, device=replace(job.device, cooldown_s=cooldown_s))

    def on(self, device: str, runtime: str | None, precision: str | None) -> "Job":
        """The same job on another device; raises UnknownNameError for names that are not known."""
        place = self.workspace
        published = place.imported(device).exists()
        found = Device(name=device) if published else find_device(device, place.root, runtime, precision)
        return replace(self, device=found)

    @property
    def published(self) -> bool:
        """Whether the device is known from a published table only: there is nothing to measure on."""
        return self.workspace.imported(self.device.name).exists()

    @property
    def table_path(self) -> Path:
        """Where the device's table is."""
        return self.workspace.imported(self.device.name) if self.published else self.workspace.table(self.device)

    def table(self) -> LatencyTable:
        """The device's table; raises InvalidInputError if there is none, or if it was measured on another machine.

        A device at the far end of a connection is not asked what it is: pricing needs no device.
        """
        table = LatencyTable.read(self.table_path)
        if self.device.connect == "local" and not self.published:
            table.check_origin(fingerprint(self.device))
        return table


Begun = Callable[[Profiler, int], None]
"""Called with a device that is found to work, and the number of blocks to measure on it, before that begins."""


def run_profile(job: Job, plan: Plan, report: Report, begun: Begun = lambda *_: None) -> ProfileSummary:
    """Profile the job's space on its device."""
    check_installed(job.device)
    with open_profiler(job.device, say_of(job.device.name)) as profiler:
        table = LatencyTable.open(job.table_path, job.device.name, profiler.fingerprint())
        begun(profiler, len(table.missing(job.space.vocabulary)))
        return profile(job.space, profiler, table, plan, report)


def check_data(job: Job) -> None:
    """Raise InvalidInputError if the data cannot be opened or do not fit: before a device is measured for minutes."""
    project.check_dataset(Project(job.space, job.data, job.supernet))


def ready_table(
    job: Job,
    *,
    auto: bool,
    guess: str | None = None,
    available: bool = False,
    look: Callable[[Profiler], None] = lambda _: None,
) -> LatencyTable:
    """The job's table with everything a latency model needs, profiled first where it is missing and `auto`.

    Where what is `available` will do, a table that is there stays as it is. A device that is going to be profiled is
    given to `look` before.
    """
    if job.table_path.exists():
        table = job.table()  # a damaged or foreign one is not mended by measuring
        try:
            latency_model(table, job.space, guess, needed=() if available else None, data=job.data)
            return table
        except InvalidInputError:
            if not auto or job.published:
                raise
    elif not auto:
        device = job.device
        command = profile_command(device.name, device.runtime, device.precision, job.space, job.data)
        raise InvalidInputError(f"{job.device.name} was not profiled yet; measure with: {command}")
    plan = PLANS["default"]

    def begun(profiler: Profiler, count: int) -> None:
        look(profiler)
        say(
            f"{job.device.name} is not profiled for {job.space.name} yet: measuring {count} blocks and whole networks, "
            f"about {plan.time_limit_s:.0f} s for each batch of them"
        )

    with ProgressDisplay() as display:
        run_profile(job, plan, display, begun)
    return job.table()


def train_supernet(
    job: Job,
    plan: "TrainPlan",
    processes: "Processes",
    *,
    restart: bool,
    every_s: float = 20.0,
    tensorboard: bool = False,
    workers: int = 0,
) -> Path:
    """Train the job's supernet, or go on training it, showing progress; the old one stays until the new one is there.

    The first process alone writes it, to the path returned.
    """
    from hwnas.training.plan import check_memory
    from hwnas.training.supernet_training import SupernetTraining

    data = job.data or DEFAULT_DATA
    dataset = _training_data(data, plan, job.space.resolutions[-1])
    check_memory(plan.batch, dataset.shape)
    space = fitting_space(job, dataset.shape, len(dataset.classes))
    path = job.workspace.supernet(space.name, data)
    with ProgressDisplay() if processes.first else nullcontext(silent) as display:
        steps = SupernetTraining(
            space,
            dataset,
            plan,
            path,
            data,
            read=lambda path: _load(job, path),
            every_s=every_s,
            tensorboard=tensorboard,
            workers=workers,
            report=display,
        ).run(processes, restart=restart)
    if processes.first and not steps:
        say(f"{path} has had its steps: more --steps, or --time, train it further, and --restart anew")
    return path


def _training_data(name: str, plan: "TrainPlan", hw: int) -> "Dataset":
    from hwnas.training.datasets import open_dataset
    from hwnas.training.pictures import Pictures

    dataset = open_dataset(name, plan.seed, hw)
    if not plan.randaugment:
        return dataset
    if not isinstance(dataset, Pictures):
        raise InvalidInputError(f"{name} draws its images as they are to be: leave out --randaugment")
    return dataset.randaugmented()


def ready_supernet(job: Job, *, auto: bool) -> "TrainedSupernet":
    """The job's supernet: trained on its data, or else imported, or the one that comes with hwnas.

    Where there is none of these, one is trained first if `auto`.
    """
    from hwnas.training.distributed import joined
    from hwnas.training.plan import TrainPlan
    from hwnas.training.weights import IMPORTED, shipped_supernet

    data = job.data or DEFAULT_DATA
    path = job.workspace.supernet(job.space.name, data)
    imported = job.workspace.supernet(job.space.name, IMPORTED)
    if not path.exists() and imported.exists():
        return _load(job, imported)
    if not path.exists() and (shipped := shipped_supernet(job.space, data)):
        say(f"taking the supernet of {job.space.name} that comes with hwnas; your own is made by: hwnas train")
        return _with_evaluations(job, _load(job, shipped))
    if not path.exists():
        if not auto:
            raise InvalidInputError(
                f"there is no supernet of {job.space.name} yet; train with: hwnas train --data {data} "
                f"--space {job.space.name}"
            )
        plan = TrainPlan()
        say(f"there is no supernet of {job.space.name} yet: training {plan.steps} steps, some minutes on two cores")
        with joined(0, 1, 0) as alone:
            return _load(job, train_supernet(job, plan, alone, restart=False))
    return _load(job, path)


def _with_evaluations(job: Job, shipped: "TrainedSupernet") -> "TrainedSupernet":
    """A supernet that comes with hwnas; what was judged of it is copied to the workspace, to be added to."""
    from hwnas.training.weights import shipped_evaluations

    log = job.workspace.evaluations(shipped.path, shipped.sha256)
    if not log.exists():
        write_atomically(log, shipped_evaluations(shipped.path).read_bytes())
    return shipped


def _load(job: Job, path: Path) -> "TrainedSupernet":
    from hwnas.training.weights import load_supernet

    trained = load_supernet(path)
    if trained.net.space.name != job.space.name:
        raise InvalidInputError(f"{path} holds a supernet of {trained.net.space.name}, not of {job.space.name}")
    wanted = job.data or DEFAULT_DATA
    if trained.data and canonical(trained.data) != canonical(wanted):
        raise InvalidInputError(f"{path} was trained on {trained.data}, not on {wanted}")
    return trained


def evaluator_of(job: Job, trained: "TrainedSupernet") -> "SubnetEvaluator":
    """What judges the subnets of a trained supernet, with all it has judged before."""
    from hwnas.training.evaluate import SubnetEvaluator

    log = job.workspace.evaluations(trained.path, trained.sha256)
    return SubnetEvaluator(trained, trained.dataset(job.data), log)


def fitting_space(job: Job, shape: tuple[int, int, int], classes: int) -> SearchSpace:
    """The job's space with the data set's classes; raises InvalidInputError if its images do not fit."""
    return project.fitting_space(job.space, job.data, shape, classes)
