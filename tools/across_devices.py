"""Nets specialised for one device, measured on all of them: is each the fastest at home?

    python tools/across_devices.py --device host,board --workspace W

For a few levels of accuracy, each device gets the net that is fastest there of those that reach the level: its table
names a few, and the device has the last word, as in `hwnas specialize`. Then the chosen ones are measured anew on every
device, in the same shuffled rounds. The workspace holds a trained supernet and a
table of each device (`hwnas train`, `hwnas profile`). It is the table of ProxylessNAS (Cai et al. 2019, table 3) and
FBNet (Wu et al. 2019, table 5), with the accuracy held instead of the latency.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from hwnas.arch import Arch
from hwnas.cli.display import say
from hwnas.cli.steps import Job, evaluator_of, ready_supernet
from hwnas.export.proven import export_proven
from hwnas.pricing import evenly_spread, latency_model
from hwnas.search.accuracy import AccuracyPredictor
from hwnas.space import SearchSpace
from hwnas.training.evaluate import SubnetEvaluator
from lut.latency_model import LatencyModel
from lut.table import LatencyTable
from profilers.measurement import Measurement, all_undisturbed, plan_named
from profilers.profiler import open_profiler

SAMPLED, EVALUATED, FINALISTS = 200_000, 100, 3


def main() -> None:
    """Choose, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="host,board")
    parser.add_argument("--space", default="digits")
    parser.add_argument("--data", default="digit-pairs")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.2, 0.5])
    parser.add_argument("--workspace", type=Path, default=Path("hwnas-work"))
    parser.add_argument("--plan", default="default")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    jobs = {
        name: Job.of(asked.workspace, name, None, None, asked.space, (), asked.data) for name in asked.device.split(",")
    }
    first = next(iter(jobs.values()))
    trained = ready_supernet(first, auto=False)
    evaluator, space = evaluator_of(first, trained), trained.net.space
    models = {name: latency_model(LatencyTable.read(job.table_path), space) for name, job in jobs.items()}
    finalists = nominated(space, models, evaluator, asked.levels)
    nets: list[tuple[float, str, Arch]] = []
    for name, job in jobs.items():
        found = measure(job, [arch for of_level in finalists.values() for arch in of_level], evaluator, asked.plan)
        nets += [(level, name, min(archs, key=lambda a: found[a].latency_ms)) for level, archs in finalists.items()]
    nets.sort(key=lambda net: net[0])
    measured = {name: measure(job, [arch for *_, arch in nets], evaluator, asked.plan) for name, job in jobs.items()}
    rows = [
        {
            "level": level,
            "home": home,
            "arch": str(arch),
            "accuracy": evaluator.validation_accuracy(arch),
            "predicted_ms": {name: float(model.latency_ms(space.row(arch)[None])[0]) for name, model in models.items()},
            "measured_ms": {name: measured[name][arch].latency_ms for name in jobs},
            "interval_ms": {name: measured[name][arch].interval_ms for name in jobs},
        }
        for level, home, arch in nets
    ]
    print(json.dumps(rows, indent=2) if asked.json else table(rows, list(jobs)))


def nominated(
    space: SearchSpace, models: dict[str, LatencyModel], evaluator: SubnetEvaluator, levels: list[float]
) -> dict[float, list[Arch]]:
    """For each level, the nets that any table says are fastest of those that are as accurate, as far as is predicted.

    A level is a budget on the first device, as a share of the way from its least latency to its largest: the accuracy
    that is best there is asked of all.
    """
    rng = np.random.default_rng(0)
    for row in evenly_spread(space, EVALUATED, rng):
        evaluator.validation_accuracy(space.arch(row))
    population = np.unique(space.sample(SAMPLED, rng), axis=0)
    predicted = AccuracyPredictor.fit_all(space, evaluator.known)[0](population)
    on_first = next(iter(models.values())).latency_ms(population)
    found = {}
    for level in levels:
        budget = on_first.min() + level * (on_first.max() - on_first.min())
        good = population[predicted >= predicted[on_first <= budget].max()]
        rows = [row for model in models.values() for row in good[np.argsort(model.latency_ms(good))[:FINALISTS]]]
        found[level] = sorted({space.arch(row) for row in rows})
    return found


def measure(job: Job, archs: list[Arch], evaluator: SubnetEvaluator, plan: str) -> dict[Arch, Measurement]:
    """All nets on the job's device in the same rounds, as files that are proven equal to them."""
    dataset, device = evaluator.trained.dataset(job.data), job.device
    with open_profiler(device, say) as profiler:
        nets = {str(arch): evaluator.subnet(arch) for arch in archs}
        exported = {
            name: export_proven(net, profiler.format, dataset, device.form, device.batch) for name, net in nets.items()
        }
        visits = profiler.visits({name: found.model for name, found in exported.items()}, plan_named(plan))
    found = all_undisturbed(visits)
    return {arch: found[str(arch)] for arch in archs}


def table(rows: list[dict], devices: list[str]) -> str:
    """A row a net: its home, accuracy, and latency on each device, beside the net that is at home there."""
    lines = [" | ".join(["level", "specialised for", "accuracy", *(f"on {name}" for name in devices)])]
    for row in rows:
        cells = []
        for name in devices:
            home = next(r for r in rows if r["level"] == row["level"] and r["home"] == name)
            ratio = row["measured_ms"][name] / home["measured_ms"][name]
            cells.append(f"{row['measured_ms'][name]:.4g} ms ({ratio:.3f})")
        lines.append(" | ".join([f"{row['level']:g}", row["home"], f"{100 * row['accuracy']:.1f} %", *cells]))
        lines.append(f"    {row['arch']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
