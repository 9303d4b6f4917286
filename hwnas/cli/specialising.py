"""What `specialize` and `export` do, between reading options and showing results."""

import datetime
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hwnas
from hwnas.arch import Arch
from hwnas.cli.display import ProgressDisplay, say, say_of
from hwnas.cli.searching import Asked, Priced
from hwnas.cli.steps import Job, check_data, evaluator_of, ready_supernet
from hwnas.cli.values import in_ms
from hwnas.export.bundle import check_place, digests_of, write_bundle
from hwnas.export.predict import ModelInput
from hwnas.export.proven import export_proven
from hwnas.export.record import BundleRecord, BundleRequest, encodable
from hwnas.search.budgets import Refused, in_order
from hwnas.spaces import open_space
from hwnas.specialize import Specialised, Specialiser, Target, check_alike
from hwnas.training.noise import Noise
from hwnas.training.weights import TrainedSupernet
from hwnas.workflows.project import DEFAULT_DATA
from lut.storage import write_atomically
from profilers import backends
from profilers.errors import InfeasibleError, InvalidInputError, UntrustedError
from profilers.formats import Form
from profilers.installed import check_export, check_installed, check_provable
from profilers.measurement import CALM_TOLERANCE
from profilers.profiler import open_profiler
from profilers.reading import Fields


def specialise_all(jobs: Mapping[str, Job], asked: Asked, *, auto: bool, command: str) -> list[dict[str, Any]]:
    """A bundle for each budget, or why there is none, as facts to show.

    A bundle is written as soon as its net has kept its budget.
    """
    results, job = [], next(iter(jobs.values()))
    for budget in asked.budgets:
        request = _request(job, asked, budget)
        check_place(_folder(jobs, request), request)
    with _specialiser(jobs, asked, auto=auto) as (worker, priced):
        dataset, left = worker.dataset, list(priced.refused)
        for budget in priced.budgets:
            paces = {name: target.table.calm_ms for name, target in worker.targets.items()}
            try:
                found = worker.specialise(budget)
            except (InfeasibleError, UntrustedError) as error:
                if len(asked.budgets) == 1:
                    raise
                say(f"hwnas: {error}")
                left.append(Refused(budget, error))
                continue
            for name, kept in found.kept.items():
                say(
                    f"{name}, budget {in_ms(kept.budget_ms)}: measured {kept.measurement} ({in_ms(kept.raw_ms)} with "
                    f"disturbed visits); file and net differ by at most {found.max_difference:.1e}"
                )
                _tell_of_pace(name, paces[name] / worker.targets[name].table.calm_ms)
            takes = ModelInput(
                dataset.shape,
                worker.space.resolution(found.arch),
                dataset.scaling,
                getattr(dataset, "picture_form", None),
            )
            request = _request(job, asked, budget)
            folder, record = _folder(jobs, request), _record(found, worker, request, asked.seed, command)
            record = write_bundle(folder, found.models, labels=dataset.classes, takes=takes, record=record)
            results.append({**found.facts(), "files": dict(record.files), "bundle": str(folder)})
    return in_order(asked.budgets, results, left)


def _request(job: Job, asked: Asked, budget_ms: Mapping[str, float]) -> BundleRequest:
    """What a bundle for one of the budgets is asked for."""
    limits = {key: value for key, value in vars(asked.limits).items() if key not in ("format", "form")}
    return BundleRequest(
        space=job.space.name,
        resolutions=job.space.resolutions,
        data=encodable(job.data or DEFAULT_DATA),
        limits={key: value for key, value in limits.items() if value is not None},
        budget_ms=budget_ms,
        available=asked.available,
    )


def _folder(jobs: Mapping[str, Job], request: BundleRequest) -> Path:
    """Where the bundle for a request goes."""
    devices = [jobs[name].device for name in request.budget_ms]
    suffix = request.suffix(open_space(request.space).resolutions, DEFAULT_DATA)
    return next(iter(jobs.values())).workspace.bundle(devices, request.space, request.budget_ms, suffix)


def _record(found: Specialised, worker: Specialiser, request: BundleRequest, seed: int, command: str) -> BundleRecord:
    """What bundle.json is to say, but for the files."""
    facts = {
        **found.facts(),
        **_origin(next(iter(worker.targets.values()))),
        "supernet_sha256": worker.evaluator.trained.sha256,
        "data": encodable(worker.dataset.name),
        "seed": seed,
        "command": encodable(command),
        "hwnas": hwnas.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "request": request.facts(),
        "files": digests_of(found.models),
    }
    for one in facts.get("devices", []):
        one.update(_origin(worker.targets[one["device"]]))
    return BundleRecord.of(Fields.of(facts, "the new bundle"))


def _tell_of_pace(name: str, faster: float) -> None:
    """Say so where a device was faster now than it ever was while it was profiled: its table is of another device."""
    if faster > CALM_TOLERANCE:
        say(
            f"{name} ran up to {faster:.2f} times faster than while it was profiled, and may fit a better net: profile "
            "again, which measures only what was too slow"
        )


def _origin(target: Target) -> dict[str, Any]:
    """What the figures of one device are of."""
    return {"fingerprint": asdict(target.table.fingerprint), "table_sha256": target.table.content_hash}


def export_subnet(job: Job, arch: str, output: Path, form: Form) -> dict[str, Any]:
    """Write one subnet as a model file whose format is the output's suffix; returns facts to show."""
    check_export(_format(output), form)  # before a supernet is read for nothing
    trained = ready_supernet(job, auto=False)
    found = trained.net.space.parse(arch)
    if not (trained.data or job.data):
        return _export_as_imported(trained, found, output, form)
    evaluator = evaluator_of(job, trained)
    exported = export_proven(evaluator.subnet(found), _format(output), trained.dataset(job.data), form)
    write_atomically(output, exported.model.content)
    return {
        "arch": str(found),
        "file": str(output),
        "max_difference": exported.max_difference,
        "test_accuracy": evaluator.test_accuracy(exported),
        "validation_accuracy": evaluator.validation_accuracy(found),
    }


def _export_as_imported(trained: TrainedSupernet, arch: Arch, output: Path, form: Form) -> dict[str, Any]:
    """Write a subnet without any images: norms keep the imported statistics, file and net are compared on noise."""
    if form.precision != "fp32":
        raise InvalidInputError(
            f"{form.precision} scales are made from images, and {trained.path} was imported from "
            f"{trained.origin.get('file')}, which does not say what it was trained on: give --data"
        )
    space, hw = trained.net.space, trained.net.space.resolution(arch)
    noise = Noise((space.image_chs, hw, hw), tuple(map(str, range(space.classes))))
    exported = export_proven(trained.net.extract(arch), _format(output), noise, form)
    write_atomically(output, exported.model.content)
    say("batch norm keeps the imported statistics; give --data, and this subnet's own are measured")
    return {"arch": str(arch), "file": str(output), "max_difference": exported.max_difference}


def _format(output: Path) -> str:
    return output.suffix.removeprefix(".")


@contextmanager
def _specialiser(jobs: Mapping[str, Job], asked: Asked, *, auto: bool) -> Iterator[tuple[Specialiser, Priced]]:
    """A Specialiser for the jobs, with what it needs made on the way; budgets out of reach are refused first."""
    job = next(iter(jobs.values()))
    for other in jobs.values():
        if other.published:
            raise InvalidInputError(
                f"{other.device.name} is known from a published table only, and nothing can be measured on it: search "
                "for it, or add the device itself under another name with hwnas devices add"
            )
    check_alike({name: other.device for name, other in jobs.items()})
    for other in jobs.values():
        check_installed(other.device)
        check_provable(backends.load(other.device.runtime).FORMAT)
    check_data(job)
    priced = Priced.of(jobs, job.space, asked, auto=auto)
    trained = ready_supernet(job, auto=auto)
    if trained.net.space.vocabulary != job.space.vocabulary:
        raise InvalidInputError(f"{trained.path} was trained for other sizes or classes than {job.space.name} has")
    with ExitStack() as stack:
        targets = {}
        for name, other in jobs.items():
            profiler = stack.enter_context(open_profiler(other.device, say_of(name)))
            priced.tables[name].check_origin(profiler.fingerprint())
            targets[name] = Target(priced.tables[name], profiler)
        worker = Specialiser(
            space=trained.net.space,
            targets=targets,
            evaluator=evaluator_of(job, trained),
            dataset=trained.dataset(job.data),
            limits=asked.limits,
            available=asked.available,
            seed=asked.seed,
            evaluations=asked.subnets,
            report=stack.enter_context(ProgressDisplay()),
        )
        yield worker, priced
