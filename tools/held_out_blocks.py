"""How well blocks are predicted that a table's predictor has not seen, and what whole nets priced with them are worth.

    python tools/held_out_blocks.py tables/host-onnxruntime-fp32-t1-b1.jsonl [--splits 20] [--share 60] [--json]

For each table, over random splits of its blocks into known and held out ones: errors of the held-out blocks, how many
lie within their 90 % intervals, random nets priced with these blocks predicted against the same nets priced with all of
them measured, and the table's whole nets, each left out of the calibration, against what was measured.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from lut.blocks import Block
from lut.calibration import Calibration
from lut.compiled import Compiled
from lut.predictor import BlockPredictor
from lut.table import LatencyTable

CONFIDENCE = 90
NETS = 200


def main() -> None:
    """Split, predict, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="+")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--share", type=float, default=60, help="percent of the blocks that are known")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    for path in asked.table:
        rng = np.random.default_rng(asked.seed)
        rows.append(row(LatencyTable.read(path), asked.splits, asked.share / 100, rng))
        if not asked.json:
            for name, value in rows[-1].items():
                print(f"{name:28} {value:.2f}" if isinstance(value, float) else f"{name:28} {value}", flush=True)
    if asked.json:
        print(json.dumps(rows, indent=2))


def row(table: LatencyTable, splits: int, share: float, rng: np.random.Generator) -> dict[str, object]:
    """Figures of one table, over all splits together."""
    space = space_of(table)
    measured = {block: table.block_ms(block) for block in table.blocks()}
    names = list(table.nets)
    nets = [[Block.parse(key) for key in table.nets[name]] for name in names]
    nets_ms = [found.latency_ms for name in names if (found := table.measurement(name))]
    population = space.sample(NETS, rng)
    expected = priced(space, measured, calibrated(nets, nets_ms, measured))(population)
    errors, inside, half_widths, net_errors, left_out = [], [], [], [], []
    blocks = list(measured)
    for _ in range(splits):
        order = rng.permutation(len(blocks))
        known = [blocks[i] for i in order[: round(share * len(blocks))]]
        held_out = [blocks[i] for i in order[len(known) :]]
        predictor = BlockPredictor.fit(known, [measured[block] for block in known])
        guessed = dict(zip(held_out, predictor.blocks_ms(held_out).tolist(), strict=True))
        true = np.array([measured[block] for block in held_out])
        low, high = predictor.interval_ms(held_out, CONFIDENCE).T
        errors.append(100 * np.abs(np.array(list(guessed.values())) / true - 1))
        inside.append((low <= true) & (true <= high))
        half_widths.append(50 * (high - low) / true)
        calibration = calibrated(nets, nets_ms, measured | guessed)
        net_errors.append(100 * np.abs(priced(space, measured | guessed, calibration)(population) / expected - 1))
        left_out.append(np.abs(calibration.errors_pct))
    held = np.concatenate(errors)
    return {
        "table": table.path.name, "blocks": len(blocks), "splits": splits, "known_pct": 100 * share,
        "mean_error_pct": float(held.mean()), "median_error_pct": float(np.median(held)),
        "p90_error_pct": float(np.percentile(held, 90)), "worst_split_mean_pct": float(max(e.mean() for e in errors)),
        "coverage_pct": float(100 * np.mean(inside)), "half_width_pct": float(np.median(half_widths)),
        "nets_within_5_pct": float(100 * np.mean(np.array(net_errors) <= 5)),
        "nets_mean_error_pct": float(np.mean(net_errors)),
        "measured_within_5_pct": float(100 * np.mean(np.array(left_out) <= 5)),
        "measured_mean_error_pct": float(np.mean(left_out)),
    }  # fmt: skip


def space_of(table: LatencyTable) -> SearchSpace:
    """The space that the table's whole nets are from, at their resolutions."""
    name = next(iter(table.nets)).removeprefix("net ").split(":")[0]
    sizes = {Block.parse(keys[0]).hw for keys in table.nets.values()}
    return open_space(name, resolutions=tuple(sizes))


def calibrated(nets: list[list[Block]], nets_ms: list[float], times: Mapping[Block, float]) -> Calibration:
    """The calibration of these times on whole nets."""
    return Calibration.fit([[(times[block], block.params) for block in net] for net in nets], nets_ms)


def priced(space: SearchSpace, times: Mapping[Block, float], calibration: Calibration) -> Compiled:
    """The price of every net of the space."""
    return Compiled.of(
        space, lambda block: calibration.block_ms((times[block], block.params)), constant=calibration.constant_ms
    )


if __name__ == "__main__":
    main()
