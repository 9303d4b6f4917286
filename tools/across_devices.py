"""Nets specialised for one device, measured on all of them: is each the fastest at home?

    python tools/across_devices.py --device host,board --workspace W

For a few levels of accuracy, each device gets the net that its table says is fastest among those that reach the level.
Then all nets are measured on every device, in the same shuffled rounds. The workspace holds a trained supernet and a
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
from hwnas.pricing import LatencyModel, evenly_spread, latency_model
from hwnas.search.accuracy import AccuracyPredictor
from hwnas.space import SearchSpace
from hwnas.training.datasets import open_dataset
from hwnas.training.evaluate import SubnetEvaluator
from lut.table import LatencyTable
from profilers.formats import ModelFile
from profilers.measurement import Measurement, Visit, plan_named, undisturbed
from profilers.profiler import Profiler, open_profiler

SAMPLED, EVALUATED = 200_000, 100


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
    nets = chosen(space, models, evaluator, asked.levels)
    measured = {}
    for name, job in jobs.items():
        with open_profiler(job.device, say) as profiler:
            files = {str(arch): exported(arch, evaluator, profiler, asked.data) for _, _, arch in nets}
            measured[name] = measure(profiler, files, asked.plan)
    rows = [
        {
            "level": level,
            "home": home,
            "arch": str(arch),
            "accuracy": evaluator.validation_accuracy(arch),
            "predicted_ms": {name: float(model(space.row(arch)[None])[0]) for name, model in models.items()},
            "measured_ms": {name: measured[name][str(arch)].latency_ms for name in jobs},
            "interval_ms": {name: measured[name][str(arch)].interval_ms for name in jobs},
        }
        for level, home, arch in nets
    ]
    print(json.dumps(rows, indent=2) if asked.json else table(rows, list(jobs)))


def chosen(
    space: SearchSpace, models: dict[str, LatencyModel], evaluator: SubnetEvaluator, levels: list[float]
) -> list[tuple[float, str, Arch]]:
    """For each level and device, the net that is fastest there of those that are as accurate, as far as is predicted.

    A level is a budget on the first device, as a share of the way from its least latency to its largest: the accuracy
    that is best there is asked of all.
    """
    rng = np.random.default_rng(0)
    for row in evenly_spread(space, EVALUATED, rng):
        evaluator.validation_accuracy(space.arch(row))
    population = np.unique(space.sample(SAMPLED, rng), axis=0)
    predicted = AccuracyPredictor.fit(space, evaluator.known)(population)
    on_first = next(iter(models.values()))(population)
    found = []
    for level in levels:
        budget = on_first.min() + level * (on_first.max() - on_first.min())
        good = population[predicted >= predicted[on_first <= budget].max()]
        found += [(level, name, space.arch(good[np.argmin(model(good))])) for name, model in models.items()]
    return found


def exported(arch: Arch, evaluator: SubnetEvaluator, profiler: Profiler, data: str) -> ModelFile:
    """The net as the file that the device takes, proven equal to it."""
    dataset = open_dataset(data, evaluator.trained.seed)
    device = profiler.device
    return export_proven(evaluator.subnet(arch), profiler.format, dataset, device.form, device.batch).model


def measure(profiler: Profiler, files: dict[str, ModelFile], plan: str) -> dict[str, Measurement]:
    """All nets in the same rounds."""
    visits: dict[str, list[Visit]] = {name: [] for name in files}
    for done in profiler.measure(files, plan_named(plan)):
        for name, visit in done.visits.items():
            visits[name].append(visit)
    calm_ms = float(np.percentile([visit.sentinel_ms for of_one in visits.values() for visit in of_one], 5))
    return {name: undisturbed(found, calm_ms) for name, found in visits.items()}


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
