"""Search on a real supernet and a real table: by predictor, at random, and against the best of many evaluated subnets.

    python tools/search_digits.py --workspace W --evaluated 500

For budgets spread over the space's latencies: `hwnas.search.subnets.best_subnet` judges some subnets and searches with
the predictor fitted to them; random search judges as many random subnets within the budget and takes the best (mean and
spread of many draws from those evaluated); and the best of all that were evaluated is what neither can pass, but by a
subnet that was not among them. The workspace holds a trained supernet and the host's table (`hwnas train`, `hwnas
profile`); whatever is judged is kept in its log.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from hwnas.arch import Arch
from hwnas.cli.steps import Job, evaluator_of, ready_supernet
from hwnas.pricing import latency_model
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.subnets import best_subnet
from hwnas.training.evaluate import SubnetEvaluator

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75)  # budgets, from the least latency to the largest architecture's
DRAWS = 200


def main() -> None:
    """Evaluate, search, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--evaluated", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    job = Job.of(asked.workspace, "host", None, None, "digits", (), "digit-pairs")
    space, model = job.space, latency_model(job.table(), job.space)
    evaluator = evaluator_of(job, ready_supernet(job, auto=False))
    pool = np.unique(space.sample(asked.evaluated, np.random.default_rng(500)), axis=0)
    for _ in evaluator.judge([space.arch(row) for row in pool]):
        pass
    accuracies = np.array([evaluator.known[space.arch(row)] for row in pool])
    latencies, (least, _) = model.latency_ms(pool), model.least()
    largest = float(model.latency_ms(space.row(space.largest)[None])[0])
    rows, rng = [], np.random.default_rng(0)
    for share in SHARES:
        budget_ms = least + share * (largest - least)
        judge = Counted(evaluator)
        limits = Constraints((Constraint("latency", model.cost, budget_ms, "ms"),))
        found = best_subnet(space, limits, judge, seed=0)
        within = accuracies[latencies <= budget_ms]
        count = min(len(judge.known), len(within))
        drawn = [rng.choice(within, count, replace=False).max() for _ in range(DRAWS)] if count else [np.nan]
        rows.append({
            "budget_ms": budget_ms, "judged": len(judge.known), "by_predictor": found.accuracy,
            "at_random": float(np.mean(drawn)), "at_random_worst": float(np.min(drawn)),
            "best_of_evaluated": float(within.max(initial=0)), "evaluated_within": len(within),
            "predictor": found.predictor.describe(),
        })  # fmt: skip
        if not asked.json:
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    if asked.json:
        print(json.dumps(rows, indent=2))


class Counted:
    """A judge that begins with nothing known, so that each search pays for every subnet it looks at."""

    def __init__(self, evaluator: SubnetEvaluator) -> None:
        self._evaluator = evaluator
        self._known: dict[Arch, float] = {}

    @property
    def known(self) -> Mapping[Arch, float]:
        """What this search has judged."""
        return self._known

    @property
    def images(self) -> int:
        """How many images accuracies are found on."""
        return self._evaluator.images

    def judge(self, archs: Sequence[Arch]) -> Iterator[tuple[Arch, float]]:
        """Judge subnets, or look them up where an earlier search judged them."""
        for _ in self._evaluator.judge(archs):
            pass
        for arch in archs:
            self._known[arch] = self._evaluator.known[arch]
            yield arch, self._known[arch]


if __name__ == "__main__":
    main()
