"""The exact search as a referee: its optimum against what evolution, annealing and HiGHS find, and NSGA-II's front.

    python tools/bench_exact.py --data FOLDER [--seeds 3] [--json]

FOLDER holds once-for-all's published Note10 tables (ofa_note10/, resolutions 160, 192, 224) and its accuracy predictor
(ofa_acc_predictor.npz). A latency is the plain sum of a table's means. All but the last two columns of the first table
are about a surrogate of the predictor, a sum over slots; these two are the predictor's own figures: at the surrogate's
optimum, and after the search `exact` has refitted it.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from hwnas.search import integer_program
from hwnas.search.accuracy import AccuracyModel, open_accuracy
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.engine import EVALUATIONS, search
from hwnas.search.optimum import solve
from hwnas.search.problem import Problem
from hwnas.search.surrogate import Surrogate
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from lut.compiled import Compiled, Floats
from lut.importers import read_published

RESOLUTIONS, BUDGETS_MS = (160, 192, 224), (15, 20, 25, 30, 40, 50)
SAMPLE = 1500  # architectures that the surrogate is fitted to
EVOLVED, REFITTED, FRONT = 20_000, 1_500, 80_000  # evaluations of evolution, exact and NSGA-II
STEPS = 400  # budgets at which the exact front is known


def main() -> None:
    """Print the tables, or rows with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    space = open_space("ofa-mbv3@1.2", resolutions=RESOLUTIONS)
    model = open_accuracy(arguments.data / "ofa_acc_predictor.npz", space)
    paths = [arguments.data / "ofa_note10" / f"{hw}_lookup_table.yaml" for hw in RESOLUTIONS]
    known_ms = {entry.block: entry.ms for entry in read_published("ofa", paths)}
    latency = Compiled.of(space, known_ms.__getitem__)
    rows = space.sample(SAMPLE, np.random.default_rng(0))
    surrogate = Surrogate.fit(space, rows, model(rows))
    solve(surrogate.value, within(latency, BUDGETS_MS[-1]))  # loads scipy's solvers, which no time is to include
    optima = [budget_row(space, model, surrogate, latency, budget, arguments.seeds) for budget in BUDGETS_MS]
    fronts = front_rows(space, surrogate, latency, arguments.seeds)
    if arguments.json:
        print(json.dumps({"surrogate_rmse": surrogate.rmse, "optima": optima, "fronts": fronts}, indent=2))
        return
    print(f"the surrogate's error on architectures that were left out: {surrogate.rmse:.5f}")
    for table in (optima, fronts):
        print("\n" + "  ".join(f"{name:>16}" for name in table[0]))
        for row in table:
            print("  ".join(f"{value:>16.6g}" for value in row.values()))


def within(latency: Compiled, budget_ms: float) -> Constraints:
    """The budget as the one constraint there is."""
    return Constraints((Constraint("latency", latency, float(budget_ms), "ms"),))


def budget_row(
    space: SearchSpace, model: AccuracyModel, surrogate: Surrogate, latency: Compiled, budget_ms: float, seeds: int
) -> dict[str, float]:
    """The optimum at a budget by three ways, with the time of each, and what it is worth to the predictor."""
    constraints = within(latency, budget_ms)
    start = time.perf_counter()
    optimum = solve(surrogate.value, constraints)
    solved = time.perf_counter()
    _, bound = integer_program.solve(Problem.of(surrogate.value, constraints), 60.0)
    refereed = time.perf_counter()
    found = {}
    for algorithm, evaluations in (("evolution", EVOLVED), ("annealing", EVALUATIONS)):
        began = time.perf_counter()
        worst = min(
            search(
                space, constraints, surrogate.value, np.random.default_rng(seed), algorithm=algorithm,
                evaluations=evaluations, gains=surrogate.value.exchanged,
            ).scores[0]
            for seed in range(seeds)
        )  # fmt: skip
        found[f"{algorithm}_gap"] = optimum.value - worst
        found[f"{algorithm}_s"] = (time.perf_counter() - began) / seeds
    refitted = search(
        space, constraints, model, np.random.default_rng(0), algorithm="exact", evaluations=REFITTED
    ).scores[0]
    return {
        "budget_ms": budget_ms,
        "exact": optimum.value,
        "certified_gap": optimum.gap,
        "exact_s": solved - start,
        "highs_minus_exact": bound - optimum.value,
        "highs_s": refereed - solved,
        **found,
        "predictor_there": float(model(optimum.near[:1])[0]),
        "predictor_refit": float(refitted),
    }


def front_rows(space: SearchSpace, surrogate: Surrogate, latency: Compiled, seeds: int) -> list[dict[str, float]]:
    """How much of the exact front's hypervolume NSGA-II's has, from seed to seed.

    Between two budgets of a grid no architecture is better than the certified optimum at the upper one: that bounds
    the exact front from above. From below it is bounded by all architectures that the exact searches came across.
    """
    least, row = latency.least()
    most, worst = float(BUDGETS_MS[-1]), float(surrogate.value(row[None])[0])
    budgets = np.linspace(least, most, STEPS)
    optima = [solve(surrogate.value, within(latency, budget), tolerance=1e-5) for budget in budgets]
    met = np.concatenate([optimum.near for optimum in optima])
    below = hypervolume(surrogate.value(met), latency(met), worst, most)
    above = hypervolume(np.array([optimum.bound for optimum in optima[1:]]), budgets[:-1], worst, most)
    rows = []
    for seed in range(seeds):
        start, rng = time.perf_counter(), np.random.default_rng(seed)
        found = search(space, within(latency, most), surrogate.value, rng, algorithm="nsga2", evaluations=FRONT)
        seconds = time.perf_counter() - start
        volume = hypervolume(found.scores, latency(found.population), worst, most)
        rows.append({"seed": seed, "ratio_at_most": volume / below, "ratio_at_least": volume / above,
                     "evaluations": found.evaluations, "seconds": seconds})  # fmt: skip
    return rows


def hypervolume(accuracies: Floats, costs: Floats, worst: float, most: float) -> float:
    """The area between a front and the point of accuracy `worst` and cost `most`."""
    order = np.lexsort((-accuracies, costs))
    best = np.maximum.accumulate(accuracies[order])
    widths = np.diff(np.append(costs[order], most))
    return float(widths @ np.maximum(best - worst, 0.0))


if __name__ == "__main__":
    main()
