"""How good accuracy predictors are by the number of subnets they were fitted on: error and rank correlation.

    hwnas evaluate --random 400 --workspace FOLDER
    python tools/predictor_pairs.py FOLDER/supernets/digits-digit-pairs/evaluations-….jsonl

A third of the judged subnets is held out; of the others each predictor sees 25, 50, 100, … drawn at random, several
times. An accuracy judged on n images is itself uncertain, by sqrt(p (1 - p) / n): what is left when a predictor is
perfect, were it not that all subnets are judged on the same images.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from hwnas.arch import Arch
from hwnas.search.accuracy import KINDS, AccuracyPredictor
from hwnas.spaces import open_space
from lut.storage import RecordLog

COUNTS = (25, 50, 100, 200, 300)


def main() -> None:
    """Fit, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("--space", default="digits")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    space = open_space(asked.space)
    records = RecordLog.read(asked.log, "hwnas-evaluations", 2).records
    judged = {Arch.parse(record["arch"]): record["top1"] / record["images"] for record in records}
    rng = np.random.default_rng(0)
    archs = [sorted(judged)[place] for place in rng.permutation(len(judged))]
    held_out, known = archs[: len(archs) // 3], archs[len(archs) // 3 :]
    rows = np.stack([space.row(arch) for arch in held_out])
    truth = np.array([judged[arch] for arch in held_out])
    found = []
    for count in (count for count in COUNTS if count <= len(known)):
        for kind in KINDS:
            errors, taus = [], []
            for _ in range(asked.draws):
                drawn = rng.permutation(len(known))[:count]
                predictor = AccuracyPredictor.fit(space, {known[i]: judged[known[i]] for i in drawn}, kind)
                predicted = predictor(rows)
                errors.append(float(np.sqrt(np.mean((predicted - truth) ** 2))))
                taus.append(float(kendalltau(predicted, truth).statistic))
            found.append({
                "pairs": count, "kind": kind, "held_out": len(held_out), "spread": float(truth.std()),
                "rmse": float(np.mean(errors)), "kendall_tau": float(np.mean(taus)),
            })  # fmt: skip
            if not asked.json:
                print(f"{count:4} pairs, {kind:9} error {100 * np.mean(errors):.2f} %, tau {np.mean(taus):.2f}")
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{len(held_out)} held out, their spread {100 * truth.std():.2f} %")


if __name__ == "__main__":
    main()
