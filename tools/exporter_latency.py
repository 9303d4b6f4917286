"""Latency of the ONNX files that hwnas writes against those that torch's own exporter makes of the same modules.

    python tools/exporter_latency.py --resolution 160

Blocks of every kind and two whole nets, in one batch of shuffled rounds; the ratio is ours / theirs, paired by round,
with its 95 % interval.
"""

import argparse
import io
import json
import warnings

import numpy as np
import torch

from hwnas.export.lower import lower
from hwnas.nets.static import StaticNet
from hwnas.spaces import open_space
from profilers.device import Device
from profilers.formats import ModelFile
from profilers.measurement import Measurement, Plan, calm_sentinel_ms
from profilers.profiler import open_profiler

BLOCKS = 10


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="ofa-mbv3")
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    space = open_space(asked.space, resolutions=(asked.resolution,))
    chosen = np.random.default_rng(0).choice(len(space.vocabulary), BLOCKS, replace=False)
    parts = {space.vocabulary[i].key: {"block": space.vocabulary[i]} for i in sorted(chosen)}
    parts |= {f"net {arch}": space.layers(arch) for arch in map(space.arch, space.sample(2, np.random.default_rng(0)))}
    files = {}
    with open_profiler(Device(name="host")) as profiler:
        for name, blocks in parts.items():
            net = StaticNet(blocks).eval()
            for parameter in net.parameters():
                torch.nn.init.normal_(parameter, std=0.05)
            files[f"ours {name}"] = profiler.model(lower(net))
            files[f"theirs {name}"] = exported(net)
        plan = Plan(target_pct=0.01, max_rounds=10**6, time_limit_s=asked.seconds)
        rounds = [found.visits for found in profiler.measure(files, plan)]
    calm_ms = calm_sentinel_ms(visit for found in rounds for visit in found.values())
    rows = []
    for name in parts:
        pairs = [(found[f"ours {name}"], found[f"theirs {name}"]) for found in rounds]
        calm = [ours.ms / theirs.ms for ours, theirs in pairs if ours.calm(calm_ms) and theirs.calm(calm_ms)]
        ratio = Measurement(tuple(calm))
        rows.append({"what": name, "ratio": ratio.latency_ms, "interval": ratio.interval_ms, "pairs": len(calm)})
    if asked.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            low, high = row["interval"]
            print(f"{row['ratio']:.3f} [{low:.3f}, {high:.3f}] {row['pairs']:4} pairs  {row['what']}")


def exported(net: StaticNet) -> ModelFile:
    """The file that torch's exporter makes, by the way with the cleanest graphs, which it calls deprecated."""
    first = next(iter(net.slots.values())).block
    example = torch.zeros(1, first.in_chs, first.hw, first.hw)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (example,), file, dynamo=False, opset_version=17)
    return ModelFile("onnx", file.getvalue())


if __name__ == "__main__":
    main()
