"""Profiling a device at the far end of a connection: the models go there as one batch, the rounds run there.

Nothing of what the device does hangs on the connection. A runner measures on its own and writes an answer; lost links,
daemons and cables only delay our reading of it.
"""

import hashlib
import math
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from profilers import backends, runners
from profilers.device import Device, Fingerprint, described_cpu
from profilers.errors import DeviceError, FailedModelsError
from profilers.formats import ModelFile
from profilers.local import sentinel_graph
from profilers.measurement import Plan, Visit, calm_sentinel_ms
from profilers.patience import PatientShell, Tell
from profilers.profiler import Profiler
from profilers.rounds import EXTENSION, Round, turn, unconverged
from profilers.runners import Runner, Site
from profilers.runners.job import Answer, Job
from profilers.runners.lease import Lease
from profilers.shells import open_shell
from profilers.state import BATTERY_SERVICE, STATE_FILES, State, state_of

STRETCH_S = 10.0  # of rounds, between two looks at which models have converged
LOADING_SHARE = 3.0  # a stretch measures at least so many times as long as its models took to load
SLOW_DEVICE = 10.0  # times the plan's limit at most, until all models of a slow device have the plan's least samples
CRASHES = 2  # of the runner at one model, before that model is left out
COOL_DOWNS = 5  # for one batch of models
KEPT_BYTES = 200_000_000  # of models on the device

_FACTS = """
uname -m
getprop ro.product.model 2>/dev/null || { tr -d '\\000' </proc/device-tree/model; echo; } 2>/dev/null || echo
cat /proc/cpuinfo
"""
_STATE = f"""
exec 2>/dev/null
for file in $1; do [ -r "$file" ] && printf '\\n=%s\\n' "$file" && cat "$file"; done
command -v dumpsys >&2 && printf '\\n=/%s\\n' {BATTERY_SERVICE} && dumpsys battery
true
"""


class RemoteProfiler(Profiler):
    """Times models on a device that a shell reaches."""

    def __init__(self, device: Device, tell: Tell) -> None:
        self.device = device
        self.format = backends.load(device.runtime).FORMAT
        self._tell = tell
        self._shell = PatientShell(open_shell(device.connect), tell)
        self._lease = Lease(self._shell, secrets.token_hex(8))
        self._taken = False
        self._pushed: dict[str, int] = {}  # bytes by name
        self._seed = np.random.SeedSequence(0)

    @property
    def _folder(self) -> str:
        return f"{self._shell.folder}/run-{self._lease.token}"

    @cached_property
    def _machine(self) -> tuple[str, str, str]:
        """What `uname -m` says, the device's model where it tells, and its /proc/cpuinfo."""
        machine, model, cpuinfo = [*self._shell.run(["sh", "-c", _FACTS]).out.split("\n", 2), "", ""][:3]
        return machine.strip(), model.strip(), cpuinfo

    @cached_property
    def _site(self) -> Site:
        return Site(self.device, self._shell, self._machine[0], self._lease.beat, self._tell)

    @cached_property
    def _runner(self) -> Runner:
        self._taken = True  # even if the answer is lost: what was taken is given back
        self._lease.take()
        return runners.install(self._site)

    def fingerprint(self) -> Fingerprint:
        """What the times depend on, as the device and the runtime on it say."""
        machine, model, cpuinfo = self._machine
        return Fingerprint(
            machine=", ".join(filter(None, [model, described_cpu(cpuinfo, machine)])),
            cores=cpuinfo.count("processor\t:") or 1,
            runtime=self.device.runtime,
            runtime_version=self._runner.version,
            precision=self.device.precision,
            threads=self.device.threads,
            batch=self.device.batch,
            cpus=",".join(map(str, self.device.cpus)),
            hswish=self.device.form.hswish,
            clock=self.device.clock,
            runner=PurePosixPath(self.device.runner).name or "native",
        )

    def state(self) -> State:
        """The device's state, read through the shell."""
        text = self._shell.run(["sh", "-c", _STATE, "sh", " ".join(f"/{p}" for p in STATE_FILES)]).out
        parts = (part.partition("\n") for part in text.split("\n=/")[1:])
        return state_of({path: content for path, _, content in parts})

    def measure(
        self,
        models: Mapping[str, ModelFile],
        plan: Plan,
        earlier: Mapping[str, Sequence[Visit]] | None = None,
        calm_ms: float = math.inf,
    ) -> Iterator[Round]:
        """Time a batch of models in shuffled rounds on the device.

        A model that the runtime refuses, or dies of, is left out; FailedModelsError names these in the end.
        """
        batch = _Batch(plan, calm_ms, {name: list((earlier or {}).get(name, ())) for name in models})
        _ = self._runner  # before files are pushed, so that leftovers are gone
        files = self._push({"sentinel": self.model(sentinel_graph(self.device.batch), inner=True), **models})
        rng = np.random.default_rng(len(models))
        before, cooled = self.state(), 0
        while pending := batch.pending():
            names = turn(list(batch.going), pending, rng)
            sentinels = list[float]()
            for found in self._stretch(batch, names, files):
                yield Round(found, pending)
                sentinels += [visit.sentinel_ms for visit in found.values()]
            if batch.pending() and cooled < COOL_DOWNS and self._slowed(before, sentinels, batch):
                cooled += 1
                self._tell(f"it got slower by heat: left alone for {self.device.cooldown_s:.0f} s")
                self._rest(self.device.cooldown_s)
        if batch.failed:
            raise FailedModelsError(self.device.name, batch.failed)

    def _stretch(self, batch: "_Batch", names: list[str], files: Mapping[str, str]) -> Iterator[dict[str, Visit]]:
        """One stretch of rounds over some of the models; yields each as its last visit is read, and signs of life."""
        job = self._job(batch, names, files)
        began, taken, loaded_at = time.monotonic(), 0, math.nan
        answer = Answer(job.token, job.models)
        for answer, whole in self._answers(job):
            if answer.visits and math.isnan(loaded_at):
                loaded_at = time.monotonic()
            if taken == whole:
                yield {}
            while taken < whole:
                turn_of = answer.visits[taken][0]
                found = {names[m]: visit for t, m, visit in answer.visits[taken:whole] if t == turn_of}
                taken += len(found)
                batch.add(found)
                yield found
        if answer.refused:
            raise DeviceError(f"{self.device.name} cannot measure: {answer.refused}")
        if answer.ended and not answer.visits and not answer.failed:
            raise DeviceError(
                f"{self.device.name} timed nothing: by its {self.device.clock} clock no run took any time"
            )
        loaded_at = time.monotonic() if math.isnan(loaded_at) else loaded_at
        batch.spent_s += time.monotonic() - loaded_at
        batch.loading_s = loaded_at - began
        batch.failed |= {names[number]: why for number, why in answer.failed.items()}
        if answer.died:
            batch.crash(names[answer.at] if answer.at is not None else None, answer.died)

    def _answers(self, job: Job) -> Iterator[tuple[Answer, int]]:
        """The answer to a job whenever it has grown, and how many of its visits are in rounds that will not go on."""
        answer = Answer(job.token, job.models)
        try:
            for answer in self._runner.stretch(job, self._folder):
                over = answer.ended or answer.died or answer.refused
                yield answer, len(answer.visits) if over else _whole_rounds(answer)
        except DeviceError:
            yield answer, len(answer.visits)  # a round takes a slow board minutes: what was read of it is kept
            raise

    def _job(self, batch: "_Batch", names: list[str], files: Mapping[str, str]) -> Job:
        return Job(
            token=self._lease.token,
            models={number: f"../{files[name]}" for number, name in enumerate(names)},
            sentinel=f"../{files['sentinel']}",
            clock=self.device.clock,
            threads=self.device.threads,
            cpus=self.device.cpus,
            plan=batch.plan,
            rounds=batch.plan.max_rounds - batch.fewest,
            seconds=batch.stretch_s,
            seed=int(self._seed.spawn(1)[0].generate_state(1)[0]),
        )

    def _push(self, models: Mapping[str, ModelFile]) -> dict[str, str]:
        """Copy onto the device what is not there yet; returns each model's file name there, which says its content."""
        for name, model in models.items():
            self._check_format(name, model)
        hashes = {name: hashlib.sha256(model.content).hexdigest() for name, model in models.items()}
        files = {name: f"{hashes[name][:24]}.{model.format}" for name, model in models.items()}
        if sum(self._pushed.values()) > KEPT_BYTES:
            self._shell.run(["sh", "-c", 'rm -f "$1"/*.*', "sh", self._folder])
            self._pushed.clear()
        self._shell.run(["mkdir", "-p", self._folder])
        with tempfile.TemporaryDirectory() as folder:
            for name, file in files.items():
                if file not in self._pushed:
                    (Path(folder) / file).write_bytes(models[name].content)
            new = sorted(Path(folder).iterdir())
            if new:
                self._site.push(new, self._folder)
            self._pushed |= {path.name: path.stat().st_size for path in new}
        return files

    def _slowed(self, before: State, sentinels: list[float], batch: "_Batch") -> bool:
        """Whether heat made it slower: by what its system allows the clock, or else by the sentinel."""
        was, now = before.get("allowed_mhz"), self.state().get("allowed_mhz")
        if isinstance(was, float) and isinstance(now, float):
            return now < 0.99 * was
        late = sentinels[len(sentinels) // 2 :]
        return bool(late) and float(np.median(late)) > 1.2 * batch.best_ms

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 2.0))
            self._lease.beat()

    def close(self) -> None:
        """End what still runs there, remove its files, give the device back; as far as it can be reached now."""
        if self._taken:
            self._shell.patience_s = 0.0
            with suppress(DeviceError):
                self._lease.release()
        self._shell.close()


class _Batch:
    """How far the models of one call to `measure` are."""

    def __init__(self, plan: Plan, calm_ms: float, visits: dict[str, list[Visit]]) -> None:
        self.plan, self._calm_ms = plan, calm_ms
        self._visits = visits
        self.failed: dict[str, str] = {}
        self.spent_s = self.loading_s = 0.0
        self._crashes: dict[str | None, int] = {}

    @property
    def going(self) -> dict[str, list[Visit]]:
        """The visits of the models that have not failed."""
        return {name: visits for name, visits in self._visits.items() if name not in self.failed}

    @property
    def fewest(self) -> int:
        """The visits of the model that has the fewest, by which rounds are counted."""
        return min(map(len, self.going.values()), default=self.plan.max_rounds)

    @property
    def best_ms(self) -> float:
        """What the sentinel takes at best."""
        return min(self._calm_ms, calm_sentinel_ms(visit for visits in self._visits.values() for visit in visits))

    @property
    def stretch_s(self) -> float:
        """How long the next stretch should measure."""
        limit_s = self.plan.time_limit_s
        return max(min(STRETCH_S, limit_s), min(LOADING_SHARE * self.loading_s, EXTENSION * limit_s))

    def add(self, found: Mapping[str, Visit]) -> None:
        """Take in one round."""
        for name, visit in found.items():
            self._visits[name].append(visit)

    def crash(self, name: str | None, why: str) -> None:
        """Take note that the runner died at a model, or before it came to any; raises DeviceError for the latter."""
        self._crashes[name] = self._crashes.get(name, 0) + 1
        if self._crashes[name] >= CRASHES:
            if name is None:
                raise DeviceError(f"the runner on the device dies before it measures anything: {why}")
            self.failed[name] = f"the runner died of it: {why}"

    def pending(self) -> frozenset[str]:
        """The models to go on with; none where all have converged or a limit is reached."""
        going = self.going
        if self.fewest >= self.plan.max_rounds:
            return frozenset()
        pending, starved = unconverged(going, self.plan, self._calm_ms)
        patience = EXTENSION if starved else 1.0
        if self.fewest < self.plan.min_samples:
            patience = SLOW_DEVICE
        return pending if self.spent_s <= patience * self.plan.time_limit_s else frozenset()


def _whole_rounds(answer: Answer) -> int:
    """How many of the visits belong to rounds that have ended."""
    last = answer.visits[-1][0] if answer.visits else 0
    return sum(turn_of != last for turn_of, _, _ in answer.visits)
