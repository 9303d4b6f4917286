"""How well a device is known from a few samples and the data of other devices.

    python tools/transfer.py help --data FOLDER             published latencies of FBNet's space (help_fbnet)
    python tools/transfer.py tables --tables A.jsonl B.jsonl …     each table in turn as the new device

`help` prints Spearman's correlation on all nets that were not sampled; `tables` prints mean errors in percent.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from hwnas.pricing import net_name
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from lut.blocks import Block
from lut.layers import Layer
from lut.parts import block_quantities, layer_quantities, part_costs_ms
from lut.table import LatencyTable
from lut.transfer import Prior

SOURCES = (
    "1080ti_1", "1080ti_32", "1080ti_64", "silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1",
    "samsung_s7",
)  # fmt: skip
# Input and output channels, height and width, stride of the 22 layers (FBNet, Wu et al. 2019, table 1).
FBNET = (
    (16, 16, 112, 1), (16, 24, 112, 2), *[(24, 24, 56, 1)] * 3, (24, 32, 56, 2), *[(32, 32, 28, 1)] * 3,
    (32, 64, 28, 2), *[(64, 64, 14, 1)] * 3, (64, 112, 14, 1), *[(112, 112, 14, 1)] * 3, (112, 184, 14, 2),
    *[(184, 184, 7, 1)] * 3, (184, 352, 7, 1),
)  # fmt: skip
CHOICES = (
    (3, 1, 1),
    (3, 1, 2),
    (3, 3, 1),
    (3, 6, 1),
    (5, 1, 1),
    (5, 1, 2),
    (5, 3, 1),
    (5, 6, 1),
)  # kernel, ratio, groups
SKIP = len(CHOICES)
ENDS = (Layer("stem", 3, 16, 112, 3, 2), Layer("head", 352, 1984, 7), Layer("classifier", 1984, 1000, 1))
DRAWS, POOL = 20, 500
LEAST = 0.01  # of the mean block: what calibration may leave of a source's small block, for logarithms are taken


def main() -> None:
    """Predict, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    published = commands.add_parser("help")
    published.add_argument("--data", type=Path, required=True, help="folder that holds help_fbnet")
    published.add_argument("--target", nargs="+", help="devices of the file; all but the sources unless given")
    published.add_argument("--samples", type=int, nargs="+", default=[5, 10, 20, 50])
    published.add_argument("--draws", type=int, default=DRAWS)
    measured = commands.add_parser("tables")
    measured.add_argument("--tables", type=Path, nargs="+", required=True)
    measured.add_argument("--space", default="ofa-mbv3")
    measured.add_argument("--resolution", type=int, nargs="+", default=[160, 224])
    measured.add_argument("--samples", type=int, nargs="+", default=[10])
    for command in (published, measured):
        command.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = published_rows(asked) if asked.command == "help" else table_rows(asked)
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print(" | ".join(rows[0]))
    for row in rows:
        print(
            " | ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()), flush=True
        )


def fbnet(archs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that count parts, (n, parts), and the parts' quantities: every choice of every layer, then stem and head."""
    columns, quantities = [], []
    for index, (in_chs, out_chs, hw, stride) in enumerate(FBNET):
        out_hw = hw // stride
        for choice, (kernel, ratio, groups) in enumerate(CHOICES):
            mid = in_chs * ratio
            layers = (
                Layer("expand", in_chs, mid, hw, groups=groups),
                Layer("depthwise", mid, mid, out_hw, kernel, stride, groups=mid),
                Layer("project", mid, out_chs, out_hw, groups=groups),
            )
            columns.append(archs[:, index] == choice)
            quantities.append((*layer_quantities(layers), groups - 1, 0))
        if in_chs != out_chs or stride != 1:  # else skipping costs nothing
            columns.append(archs[:, index] == SKIP)
            quantities.append((*layer_quantities([Layer("skip", in_chs, out_chs, out_hw, stride=stride)]), 0, 0))
    columns.append(np.ones(len(archs)))
    quantities.append((*layer_quantities(ENDS), 0, 1))
    return np.stack(columns, axis=1).astype(float), np.array(quantities, float)


def published_rows(asked: argparse.Namespace) -> list[dict[str, object]]:
    """Rank correlations on published latencies, one row a device and number of samples."""
    data = np.load(asked.data / "help_fbnet" / "latencies.npz")
    nets, quantities = fbnet(data["arch"])
    costs = np.stack([part_costs_ms(nets, data[name], quantities) for name in SOURCES], axis=1)
    prior = Prior.learn(quantities, costs)
    designs = {count: prior.choose(nets, count, nets) for count in asked.samples}
    found = []
    for target in asked.target or sorted(set(data.files) - {"arch", *SOURCES}):
        for count in asked.samples:
            draws = [np.random.default_rng(seed).choice(len(nets), count, replace=False) for seed in range(asked.draws)]
            random = [correlation(prior, nets, data[target], draw) for draw in draws]
            found.append({
                "target": target, "samples": count, "random": float(np.mean(random)), "random_least": min(random),
                "chosen": correlation(prior, nets, data[target], designs[count]),
                **accuracy(prior, nets, data[target], designs[count]),
            })  # fmt: skip
    return found


def table_rows(asked: argparse.Namespace) -> list[dict[str, object]]:
    """Errors against fully measured tables: each in turn is the new device, the others are the sources."""
    tables = [LatencyTable.read(path) for path in asked.tables]
    space = open_space(asked.space, resolutions=tuple(asked.resolution))
    blocks = [block for block in space.vocabulary if not any(table.missing([block]) for table in tables)]
    quantities = np.array([block_quantities(block) for block in blocks])
    alone = np.array([[table.block_ms(block) for table in tables] for block in blocks])
    nets = counted(space, blocks, space.sample(POOL, np.random.default_rng(0)))
    inside = np.array([in_nets(table, space, blocks) for table in tables]).T
    constant = np.zeros((1, quantities.shape[1]))
    settings = (("blocks", np.eye(len(blocks)), quantities, alone),
                ("nets", nets, np.concatenate([quantities, constant]), inside))  # fmt: skip
    found = []
    for index, path in enumerate(asked.tables):
        others = np.arange(len(tables)) != index
        for sampled_from, rows, features, costs in settings:
            sources = np.maximum(costs[:, others], LEAST * costs[:, others].mean(axis=0))
            prior, true = Prior.learn(features, sources), rows @ costs[:, index]
            for count in asked.samples:
                chosen = prior.choose(rows, count, rows)
                draws = [np.random.default_rng(seed).choice(len(rows), count, replace=False) for seed in range(DRAWS)]
                random = [accuracy(prior, rows, true, draw)["error_pct"] for draw in draws]
                found.append({
                    "target": path.stem, "samples_of": sampled_from, "samples": count,
                    **accuracy(prior, rows, true, chosen), "random_error_pct": float(np.mean(random)),
                    "scaled_nearest_error_pct": scaled_nearest(rows @ sources, true, chosen),
                })  # fmt: skip
    return found


def counted(space: SearchSpace, blocks: list[Block], population: np.ndarray) -> np.ndarray:
    """How often each block is in each net, and a last column of ones for what every net pays, (n, blocks + 1)."""
    columns = {block: column for column, block in enumerate(blocks)}
    rows = np.zeros((len(population), len(blocks) + 1))
    rows[:, -1] = 1
    for row, choices in zip(rows, population, strict=True):
        for block in space.layers(space.arch(choices)).values():
            row[columns[block]] += 1
    return rows


def in_nets(table: LatencyTable, space: SearchSpace, blocks: list[Block]) -> list[float]:
    """What each block adds to a net, and the constant behind them, as the table is calibrated on whole nets."""
    calibration = table.calibration(net_name(space.name))
    added = [calibration.added_ms(block, table.block_ms(block)) for block in blocks]
    return [*added, calibration.constant_ms]


def scaled_nearest(sources: np.ndarray, true: np.ndarray, sampled: np.ndarray) -> float:
    """Error of the simple way: the source that fits the samples best, times one factor."""
    ratios = np.log(true[sampled, None] / sources[sampled])
    nearest = int(ratios.std(axis=0).argmin())
    rest = np.setdiff1d(np.arange(len(true)), sampled)
    return error_pct(sources[rest, nearest] * np.exp(ratios[:, nearest].mean()), true[rest])


def correlation(prior: Prior, nets: np.ndarray, latencies: np.ndarray, sampled: np.ndarray) -> float:
    """Spearman's correlation on what was not sampled."""
    rest = np.setdiff1d(np.arange(len(nets)), sampled)
    predicted = prior.update(nets[sampled], latencies[sampled]).latency_ms(nets[rest])
    return float(spearmanr(predicted, latencies[rest])[0])


def accuracy(prior: Prior, rows: np.ndarray, latencies: np.ndarray, sampled: np.ndarray) -> dict[str, float]:
    """Mean error, and how often 90 % intervals hold the truth, in percent, on what was not sampled."""
    rest = np.setdiff1d(np.arange(len(rows)), sampled)
    found = prior.update(rows[sampled], latencies[sampled]).predict(rows[rest])
    low, high = found.interval_ms().T
    within = (latencies[rest] >= low) & (latencies[rest] <= high)
    return {"error_pct": error_pct(found.ms, latencies[rest]), "within_90_pct": float(100 * within.mean())}


def error_pct(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean absolute relative error."""
    return float(100 * np.mean(np.abs(predicted / true - 1)))


if __name__ == "__main__":
    main()
