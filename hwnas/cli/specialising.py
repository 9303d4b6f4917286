"""What `search`, `specialize` and `export` do, between reading options and showing results."""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hwnas
from hwnas.cli.display import ProgressDisplay, say, say_of
from hwnas.cli.steps import Job, evaluator_of, ready_supernet, ready_table
from hwnas.cli.values import in_ms
from hwnas.export.bundle import write_bundle
from hwnas.export.proven import export_proven
from hwnas.pricing import latency_model
from hwnas.search.constraints import Constraint
from hwnas.specialize import Specialiser
from hwnas.training.datasets import open_dataset
from lut.storage import write_atomically
from profilers.errors import InvalidInputError
from profilers.formats import Form
from profilers.profiler import open_profiler


def search_all(job: Job, budgets_ms: Sequence[float], *, seed: int, auto: bool) -> list[dict[str, Any]]:
    """The best candidate for each budget, as facts to show."""
    with _specialiser(job, budgets_ms, seed=seed, auto=auto) as worker:
        model = latency_model(worker.table, worker.space)
        return [
            {"device": job.device.name, "budget_ms": budget_ms, **worker.candidate(budget_ms, model).facts()}
            for budget_ms in budgets_ms
        ]


def specialise_all(
    job: Job, budgets_ms: Sequence[float], *, seed: int, auto: bool, command: str
) -> list[dict[str, Any]]:
    """A bundle for each budget, as facts to show; a bundle is written as soon as its net has kept its budget."""
    results = []
    with _specialiser(job, budgets_ms, seed=seed, auto=auto) as worker:
        dataset = worker.dataset
        for budget_ms in budgets_ms:
            found = worker.specialise(budget_ms)
            say(
                f"budget {in_ms(budget_ms)}: measured {found.measurement} ({in_ms(found.raw_ms)} with disturbed "
                f"visits); file and net differ by at most {found.max_difference:.1e}"
            )
            folder = job.workspace.bundle(job.device, worker.space.name, budget_ms)
            facts = {
                **found.facts(),
                "fingerprint": asdict(worker.table.fingerprint),
                "table_sha256": worker.table.content_hash,
                "supernet_sha256": worker.evaluator.trained.sha256,
                "data": dataset.name,
                "seed": seed,
                "command": command,
                "hwnas": hwnas.__version__,
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            }
            files = write_bundle(
                folder, found.models, labels=dataset.classes, shape=dataset.shape, scaling=dataset.scaling, facts=facts
            )
            results.append({**found.facts(), "files": files, "bundle": str(folder)})
    return results


def export_subnet(job: Job, arch: str, output: Path, form: Form) -> dict[str, Any]:
    """Write one subnet as a model file whose format is the output's suffix; returns facts to show."""
    trained = ready_supernet(job, auto=False)
    evaluator = evaluator_of(job, trained)
    found = trained.net.space.parse(arch)
    net = evaluator.subnet(found)
    dataset = open_dataset(trained.data, trained.seed)
    exported = export_proven(net, output.suffix.removeprefix("."), dataset, form)
    write_atomically(output, exported.model.content)
    return {
        "arch": str(found),
        "file": str(output),
        "max_difference": exported.max_difference,
        "test_accuracy": evaluator.test_accuracy(exported),
        "validation_accuracy": evaluator.validation_accuracy(found),
    }


@contextmanager
def _specialiser(job: Job, budgets_ms: Sequence[float], *, seed: int, auto: bool) -> Iterator[Specialiser]:
    """A Specialiser for the job, with what it needs made on the way; infeasible budgets are refused before training."""
    table = ready_table(job, auto=auto)
    model = latency_model(table, job.space)
    for budget_ms in budgets_ms:
        Constraint("latency", model, budget_ms, "ms").anchor()
    largest_ms = float(model(job.space.row(job.space.largest)[None])[0])
    if min(budgets_ms) > largest_ms:
        say(f"even the largest net takes only {in_ms(largest_ms)}: the most accurate of all is looked for")
    trained = ready_supernet(job, auto=auto)
    if trained.net.space.vocabulary != job.space.vocabulary:
        raise InvalidInputError(f"{trained.path} was trained for other sizes or classes than {job.space.name} has")
    with (
        open_profiler(job.device, say_of(job.device.name)) as profiler,
        ProgressDisplay() as display,
    ):
        table.check_origin(profiler.fingerprint())
        yield Specialiser(
            space=trained.net.space,
            table=table,
            profiler=profiler,
            evaluator=evaluator_of(job, trained),
            dataset=open_dataset(trained.data, trained.seed),
            seed=seed,
            report=display,
        )
