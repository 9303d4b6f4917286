"""What kernel, squeeze-and-excitation and activation cost on several devices, relative to a plain block on each.

    python tools/block_costs.py --device host,board,phone --workspace W

One inverted residual block in variants, measured in the same shuffled rounds on each device.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwnas.cli.display import say
from lut.blocks import MBConv, chain
from lut.layers import random_weights
from profilers.configuration import find_device
from profilers.device import Device
from profilers.measurement import all_undisturbed, plan_named
from profilers.profiler import open_profiler

PLAIN = MBConv(in_chs=24, out_chs=24, hw=20, mid_chs=96, kernel=3, stride=1, se=False, act="relu")
VARIANTS = {
    "kernel 3, ReLU": PLAIN,
    "kernel 5": replace(PLAIN, kernel=5),
    "kernel 7": replace(PLAIN, kernel=7),
    "with SE": replace(PLAIN, se=True),
    "with h-swish": replace(PLAIN, act="hswish"),
    "twice as wide": replace(PLAIN, mid_chs=192),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="host")
    parser.add_argument("--workspace", type=Path, default=Path("hwnas-work"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    devices = [find_device(name, asked.workspace) for name in asked.device.split(",")]
    costs = {device.name: measure(device) for device in devices}
    if asked.json:
        print(json.dumps(costs, indent=2))
        return
    print(" | ".join(["", *costs]))
    for variant in VARIANTS:
        cells = [f"{ms[variant]:.3g} ms ({ms[variant] / ms['kernel 3, ReLU']:.2f})" for ms in costs.values()]
        print(" | ".join([variant, *cells]))


def measure(device: Device) -> dict[str, float]:
    """The latency of each variant, in ms."""
    weights = random_weights(np.random.default_rng(0))
    with open_profiler(device, say) as profiler:
        files = {name: profiler.model(chain([(block, weights)]), inner=True) for name, block in VARIANTS.items()}
        visits = profiler.visits(files, plan_named("default"))
    return {name: found.latency_ms for name, found in all_undisturbed(visits).items()}


if __name__ == "__main__":
    main()
