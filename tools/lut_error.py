"""How far predictions from a table are off the measured latencies of whole nets that it has never seen.

    python tools/lut_error.py --space ofa-mbv3 --runtime onnxruntime litert --precision fp32 int8 --resolution 160 224

For each combination: profiles the space into a fresh table, then measures random subnets, and prints one row. Beside
it stands the naive way, from the same run: each block timed in one contiguous stretch, the medians summed. Among the
subnets the table's own calibration nets are measured again: by how much the whole machine became slower (`drift_pct`),
and what the errors would be without that (`steady_...`). `--busy` keeps another core busy; `--twice` profiles again and
compares.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from hwnas.pricing import latency_model
from hwnas.profiling import profile
from hwnas.spaces import open_space
from lut.blocks import Block, chain
from lut.layers import random_weights
from lut.table import LatencyTable
from profilers import backends
from profilers.device import Device, fingerprint
from profilers.measurement import Measurement, Plan, plan_named, undisturbed
from profilers.profiler import Profiler, open_profiler

CONTIGUOUS_RUNS = 50
NETS_LIMIT_S = 120.0  # threefold where large nets are hardly ever seen calm
BUSY = "import numpy as np; a = np.ones((512, 512), np.float32)\nwhile True: a @ a"


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="digits")
    parser.add_argument("--resolution", type=int, nargs="*", default=[])
    parser.add_argument("--runtime", nargs="+", default=["onnxruntime"])
    parser.add_argument("--precision", nargs="+", default=["fp32"])
    parser.add_argument("--nets", type=int, default=60)
    parser.add_argument("--plan", default="default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder to keep the tables in")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    for runtime, precision, resolution in product(asked.runtime, asked.precision, asked.resolution or [None]):
        device = Device(name="host", runtime=runtime, precision=precision)
        with tempfile.TemporaryDirectory() as folder, open_profiler(device) as profiler, busy_neighbour(asked.busy):
            rows.append(row(profiler, asked, resolution, asked.keep or Path(folder)))
        if not asked.json:
            for name, value in rows[-1].items():
                print(f"{name:22} {value:.3f}" if isinstance(value, float) else f"{name:22} {value}", flush=True)
    if asked.json:
        print(json.dumps(rows, indent=2))


def row(profiler: Profiler, asked: argparse.Namespace, resolution: int | None, folder: Path) -> dict[str, object]:
    """Profile, measure nets, and compare, for one device and size."""
    space = open_space(asked.space, resolutions=(resolution,) if resolution else ())
    device, plan = profiler.device, plan_named(asked.plan)
    name = f"{device.slug}-{space.resolutions[-1]}{'-busy' if asked.busy else ''}"
    table = LatencyTable.open(folder / f"{name}.jsonl", "host", fingerprint(device))
    summary = profile(space, profiler, table, plan)
    weights = random_weights(np.random.default_rng(asked.seed))
    archs = space.sample(asked.nets, np.random.default_rng(asked.seed))
    nets = {str(arch): list(space.layers(arch).values()) for arch in map(space.arch, archs)}
    found_of, drift = measure(profiler, nets, weights, table, replace(plan, time_limit_s=NETS_LIMIT_S))
    naive = {block: contiguous_ms(block, weights, profiler) for block in space.vocabulary}
    # What a net takes that was never seen calm nobody knows: it is counted, and compared with nothing.
    calm = np.array([found.calm_visits > 0 for found in found_of.values()])
    measured = np.array([found.latency_ms for found in found_of.values()])[calm]
    sums = np.array([sum(naive[block] for block in blocks) for blocks in nets.values()])[calm]
    wide, predicted = set(summary.unconverged), latency_model(table, space).latency_ms(archs)[calm]
    found = {
        "runtime": device.runtime, "precision": device.precision, "space": space.name,
        "resolution": space.resolutions[-1], "busy": asked.busy, "nets": len(measured),
        "nets_never_calm": int((~calm).sum()),
        "fastest_ms": float(measured.min()), "slowest_ms": float(measured.max()),
        **errors(predicted, measured),
        "drift_pct": 100 * (drift - 1),
        **{f"steady_{key}": value for key, value in errors(predicted * drift, measured).items()},
        **{f"naive_{key}": value for key, value in errors(sums, measured).items()},
        "left_out_error_pct": summary.calibration.mean_error_pct,
        "blocks": summary.blocks,
        "blocks_converged_pct": 100 * (1 - sum(block.key in wide for block in space.vocabulary) / summary.blocks),
        "calm_pct": summary.calm_pct, "seconds": summary.seconds, "blocks_s": summary.blocks_s,
        "writing_s": summary.writing_s,
    }  # fmt: skip
    if asked.twice:
        again = LatencyTable.open(folder / f"{name}-again.jsonl", "host", fingerprint(device))
        profile(space, profiler, again, plan)
        ratios = np.array([again.block_ms(block) / table.block_ms(block) for block in space.vocabulary])
        found["repeat_median_pct"] = float(100 * np.median(np.abs(ratios - 1)))
        found["repeat_shift_pct"] = float(100 * (np.median(ratios) - 1))
    return found


def measure(profiler: Profiler, nets, weights, table: LatencyTable, plan: Plan) -> tuple[dict[str, Measurement], float]:
    """Whole nets measured, and how many times what they took before the table's own nets take by now."""
    batch, earlier = profiler.device.batch, {name: table.measurement(name).latency_ms for name in table.nets}
    nets = nets | {name: [Block.parse(key) for key in keys] for name, keys in table.nets.items()}
    files = {name: profiler.model(chain([(block, weights) for block in nets[name]], batch)) for name in nets}
    visits = {name: [] for name in nets}
    for found in profiler.measure(files, plan, calm_ms=table.calm_ms):
        for name, visit in found.visits.items():
            visits[name].append(visit)
    found_of = {name: undisturbed(visits[name], table.calm_ms) for name in nets}
    again = {name: found_of.pop(name) for name in earlier}
    ratios = [found.latency_ms / earlier[name] for name, found in again.items() if found.calm_visits]
    return found_of, float(np.median(ratios)) if ratios else float("nan")


def contiguous_ms(block, weights, profiler: Profiler) -> float:
    """The block's median over one stretch of runs: how latency tables are usually made."""
    device = profiler.device
    model = profiler.model(chain([(block, weights)], device.batch), inner=True)
    run = backends.load(device.runtime).load(model.content, device)
    return float(np.median([run() for _ in range(CONTIGUOUS_RUNS)]))


@contextmanager
def busy_neighbour(wanted: bool) -> Iterator[None]:
    """Another process that multiplies matrices on the first CPU all the while; profiling uses the last."""
    if not wanted:
        yield
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    neighbour = subprocess.Popen([sys.executable, "-c", BUSY], env=environment)
    os.sched_setaffinity(neighbour.pid, {min(os.sched_getaffinity(0))})
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.wait()


def errors(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """Relative errors of predictions, in percent."""
    off = np.abs(predicted / measured - 1) * 100
    return {
        "bias_pct": float(100 * np.mean(predicted / measured - 1)),
        "mean_error_pct": float(off.mean()),
        "max_error_pct": float(off.max()),
        "within_5_pct": float(100 * np.mean(off <= 5)),
        "within_10_pct": float(100 * np.mean(off <= 10)),
    }


if __name__ == "__main__":
    main()
