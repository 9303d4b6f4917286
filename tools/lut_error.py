"""How far predictions from a table are off the measured latencies of whole nets that it has never seen.

    python tools/lut_error.py --space ofa-mbv3 --resolution 160 --nets 40

Profiles the space into a fresh table, then measures random subnets, and prints one row. Beside it stands the naive
way, from the same run: each block timed in one contiguous stretch, the medians summed.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from hwnas.pricing import latency_model
from hwnas.profiling import profile
from hwnas.spaces import open_space
from lut.blocks import chain
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers import backends
from profilers.device import Device, fingerprint
from profilers.formats import write
from profilers.measurement import plan_named, undisturbed
from profilers.profiler import open_profiler

CONTIGUOUS_RUNS = 50


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="digits")
    parser.add_argument("--resolution", type=int, nargs="*", default=[])
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--nets", type=int, default=40)
    parser.add_argument("--plan", default="default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    space = open_space(asked.space, resolutions=tuple(asked.resolution))
    device, plan = Device(name="host", runtime=asked.runtime), plan_named(asked.plan)
    weights = random_weights(np.random.default_rng(asked.seed))
    rows = space.sample(asked.nets, np.random.default_rng(asked.seed))
    nets = {str(arch): list(space.layers(arch).values()) for arch in map(space.arch, rows)}
    with tempfile.TemporaryDirectory() as folder, open_profiler(device) as profiler:
        table = LatencyTable.open(Path(folder) / "table.jsonl", "host", fingerprint(device))
        started = time.monotonic()
        summary = profile(space, profiler, table, plan)
        profiled_s = time.monotonic() - started
        naive = {block.key: contiguous_ms(block, weights, device) for block in space.vocabulary}
        files = {
            name: partial(write, chain([(block, weights) for block in blocks]), profiler.format)()
            for name, blocks in nets.items()
        }
        visits = {name: [] for name in nets}
        for found in profiler.measure(files, plan, calm_ms=table.calm_ms):
            for name, visit in found.visits.items():
                visits[name].append(visit)
        predicted = latency_model(table, space)(rows)
        measured = np.array([undisturbed(visits[name], table.calm_ms).median_ms for name in nets])
    sums = np.array([sum(naive[block.key] for block in blocks) for blocks in nets.values()])
    row = {
        "runtime": asked.runtime, "precision": "fp32", "space": space.name, "resolution": list(space.resolutions),
        "nets": asked.nets, "fastest_ms": float(measured.min()), "slowest_ms": float(measured.max()),
        **errors(predicted, measured), **{f"naive_{k}": v for k, v in errors(sums, measured).items()},
        "blocks_converged_pct": 100 * (1 - len(summary.unconverged) / (summary.blocks + len(table.nets))),
        "seconds": profiled_s,
    }  # fmt: skip
    if asked.json:
        print(json.dumps([row], indent=2))
    else:
        for name, value in row.items():
            print(f"{name:22} {value:.3f}" if isinstance(value, float) else f"{name:22} {value}")


def contiguous_ms(block, weights, device: Device) -> float:
    """The block's median over one stretch of runs: how latency tables are usually made."""
    run = backends.load(device.runtime).load(write(chain([(block, weights)]), "onnx").content, device)
    return float(np.median([run() for _ in range(CONTIGUOUS_RUNS)]))


def errors(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """Relative errors of predictions, in percent."""
    off = np.abs(predicted / measured - 1) * 100
    return {
        "mean_error_pct": float(off.mean()),
        "max_error_pct": float(off.max()),
        "within_5_pct": float(100 * np.mean(off <= 5)),
        "within_10_pct": float(100 * np.mean(off <= 10)),
    }


if __name__ == "__main__":
    main()
