"""Training a supernet into its folder: the first time, further, or anew. What is there stays until the new one is.

    supernet.safetensors            the finished supernet; replaced atomically, at the very end of a training
    checkpoint.safetensors          the first training, while it is under way; metrics.csv beside it
    next/checkpoint.safetensors     another training, further or anew, while it is under way; its own metrics.csv

Killed at any moment, the same call goes on: a checkpoint is recognised by the settings, and by the SHA-256 of the
weights it went on from. One process at a time trains into a folder; the lock ends with the process that holds it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import filelock
from safetensors.torch import load, save

from hwnas.nets.supernet import Supernet
from hwnas.progress import Report, silent
from hwnas.space import SearchSpace
from hwnas.training.datasets import Dataset
from hwnas.training.distributed import ALONE, Processes
from hwnas.training.loop import check_shares, train
from hwnas.training.metrics import Journal
from hwnas.training.plan import TrainPlan
from hwnas.training.probe import Probe
from hwnas.training.recipes import open_recipe
from hwnas.training.run import Begun
from hwnas.training.weights import TrainedSupernet, load_supernet, read_header, save_supernet
from lut.storage import write_atomically
from profilers.errors import InvalidInputError

CHECKPOINT, METRICS, TENSORBOARD, NEXT = "checkpoint.safetensors", "metrics.csv", "tensorboard", "next"


@dataclass(frozen=True)
class SupernetTraining:
    """What is to be trained, and where to; `data` names the data set as the user did."""

    space: SearchSpace
    dataset: Dataset
    plan: TrainPlan  # `steps` counts those of all trainings, `time_s` is time for this one
    supernet: Path
    data: str
    read: Callable[[Path], TrainedSupernet] = load_supernet  # how a finished one is read, and checked
    every_s: float = 20.0
    tensorboard: bool = False
    workers: int = 0
    report: Report = silent

    def run(self, processes: Processes = ALONE, *, restart: bool = False) -> int:
        """Train, or go on; returns the number of steps taken in all, 0 if the supernet has had its steps already.

        The first process alone needs the folder. Raises InvalidInputError if another process trains into it, if what
        is there was trained with other settings, or whatever `train` raises; what was there is as it was then.
        """
        open_recipe(self.plan.recipe)  # before anything is read or written
        check_shares(self.plan, processes)
        with self._decision(processes, restart) as decision:
            if decision.done:
                return 0
            net = self._net(decision, processes)
            steps = self._train(net, decision, processes)
            if processes.first:
                self._keep(net, decision, steps)
            return steps

    def _train(self, net: Supernet, decision: "Decision", processes: Processes) -> int:
        folder, writing = self.supernet.parent / decision.folder, processes.first
        if writing and (decision.begun or (decision.resume and (folder / CHECKPOINT).exists())):
            self._take_metrics_to(folder)
        board = (self.supernet.parent if decision.begun else folder) / TENSORBOARD
        return train(
            net,
            self.dataset,
            replace(self.plan, steps=decision.steps),
            folder / CHECKPOINT,
            begun=decision.begun,
            resume=decision.resume,
            every_s=self.every_s,
            report=self.report,
            journal=Journal(folder / METRICS, board if self.tensorboard else None) if writing else None,
            probe=Probe(self.space, self.dataset, processes.device) if writing else None,
            processes=processes,
            workers=self.workers,
        )

    def _keep(self, net: Supernet, decision: "Decision", steps: int) -> None:
        begun, parts = decision.begun, []
        if begun:
            parts = [*begun.parts, _part(steps - begun.steps, self.plan.time_s, begun.supernet)]
        plan = asdict(replace(self.plan, steps=steps))
        save_supernet(net, self.supernet, data=self.data, plan=plan, parts=parts, dataset=self.dataset)
        self._clear_up(self.supernet.parent / decision.folder)

    def _net(self, decision: "Decision", processes: Processes) -> Supernet:
        """A new net, or the finished one, which the first process reads."""
        net = Supernet(self.space, self.plan.seed)
        if decision.begun:
            tensors = save(self.read(self.supernet).net.state_dict()) if processes.first else b""
            net.load_state_dict(load(processes.shared(tensors)))
        return net

    @contextmanager
    def _decision(self, processes: Processes, restart: bool) -> Iterator["Decision"]:
        """What the first process decides, in all of them, with the folder locked; all of them raise its refusal."""
        with ExitStack() as stack:
            told: dict[str, Any] = {}
            if processes.first:
                try:
                    told = {"decision": asdict(stack.enter_context(self._locked(restart)))}
                except InvalidInputError as error:
                    told = {"refusal": str(error)}
            told = json.loads(processes.shared(json.dumps(told).encode()))
            if "refusal" in told:
                raise InvalidInputError(told["refusal"])
            yield Decision.of(told["decision"])

    @contextmanager
    def _locked(self, restart: bool) -> Iterator["Decision"]:
        folder = self.supernet.parent
        lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            held = lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise InvalidInputError(
                f"{folder} is being trained by another hwnas process: wait for it to end, or stop it; the same command "
                "goes on from there. Another --workspace trains beside it"
            ) from error
        except OSError as error:
            raise InvalidInputError(f"{folder} cannot be written: {error.strerror}") from error
        with held:
            yield self._decide(restart)

    def _decide(self, restart: bool) -> "Decision":
        """Where to train, how many steps, and from what weights."""
        folder = self.supernet.parent
        first, following = (read_header(path) for path in (folder / CHECKPOINT, folder / NEXT / CHECKPOINT))
        anew = Decision(self.plan.steps, NEXT)
        if restart:  # an unfinished training of other settings is replaced by the first checkpoint of this one
            return replace(anew, resume=self._of_these_settings(following))
        if not self.supernet.exists():
            return replace(anew, folder=NEXT if following and not first else "")
        trained = self.read(self.supernet)
        for header, where in ((first, folder), (following, folder / NEXT)):
            if header.get("progress") == 1 and _led_to(header, trained):
                self._clear_up(where)
                return replace(anew, done=True)
        return anew if self._of_these_settings(following) else self._further(trained)

    def _further(self, trained: TrainedSupernet) -> "Decision":
        """How a finished supernet is trained further."""
        plan = self.plan
        if not plan.like(trained.plan):
            raise InvalidInputError(
                f"{self.supernet} was trained with other settings: give those to train it further, or --restart to "
                "train it anew"
            )
        trained.compare(self.dataset)
        done = int(trained.plan["steps"])
        if not plan.time_s and plan.steps < done:
            raise InvalidInputError(
                f"{self.supernet} was trained for {done} steps already: more --steps, or --time, train it further, and "
                "--restart anew"
            )
        parts = trained.parts or [_part(done, trained.plan["time_s"], "")]
        begun = Begun(trained.sha256, done, parts)
        steps = plan.steps if plan.time_s else plan.steps - done
        return Decision(steps, NEXT, begun, done=not steps)

    def _of_these_settings(self, header: dict[str, Any]) -> bool:
        """Whether a checkpoint is of a training anew with these settings, of these classes."""
        identity = {"space": self.space.name, "data": self.dataset.name, "plan": asdict(self.plan), "begun": None}
        names = header.get("class_names")  # earlier versions did not say
        return {key: header.get(key) for key in identity} == identity and names in (None, [*self.dataset.classes])

    def _take_metrics_to(self, folder: Path) -> None:
        """What a training goes on from comes with its metrics: the folder's own, or those of the finished supernet."""
        mine, finished = folder / METRICS, self.supernet.with_name(METRICS)
        if not mine.exists() and finished.exists():
            write_atomically(mine, finished.read_bytes())

    def _clear_up(self, folder: Path) -> None:
        """The supernet is written: its metrics come beside it, and what is under way no longer is dropped."""
        home = self.supernet.parent
        if folder != home:
            if (folder / TENSORBOARD).exists():
                shutil.rmtree(home / TENSORBOARD, ignore_errors=True)
            for name in (METRICS, TENSORBOARD):
                if (folder / name).exists():
                    (folder / name).replace(home / name)
            shutil.rmtree(folder, ignore_errors=True)
        (home / CHECKPOINT).unlink(missing_ok=True)


@dataclass(frozen=True)
class Decision:
    """How a training goes on."""

    steps: int  # of the plan, for this training alone; without meaning if it has a time
    folder: str  # in the supernet's folder, where the checkpoint is
    begun: Begun | None = None  # what it goes on from; None for new weights
    resume: bool = True  # whether from the checkpoint, if there is one
    done: bool = False  # the supernet has had all its steps

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Decision":
        """From what `asdict` made of it."""
        return cls(**facts | {"begun": Begun(**facts["begun"]) if facts["begun"] else None})


def _part(steps: int, time_s: float, supernet: str) -> dict[str, Any]:
    """What the header of a supernet says of one of several trainings, which began from the weights of `supernet`."""
    return {"steps": steps, "time_s": time_s, "supernet": supernet}


def _led_to(header: dict[str, Any], trained: TrainedSupernet) -> bool:
    """Whether a finished checkpoint is of the training that a supernet is of: a kill came before it was removed."""
    begun, plan = header.get("begun"), header.get("plan")
    if begun:
        return bool(trained.parts) and trained.parts[-1]["supernet"] == begun["supernet"]
    return not trained.parts and isinstance(plan, dict) and plan | {"steps": header.get("step")} == trained.plan
