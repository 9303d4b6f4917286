"""Step times of a supernet: elastic against the same net static, and against static in torch's default memory order.

    python tools/step_time.py --space digits --batch 64

Paired: in every round each variant takes one forward and backward pass on the same images, in shuffled order. Ratios
are taken within rounds; the median over rounds is printed with its 95 % bootstrap interval.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from profilers.measurement import Measurement


def pass_ms(run: Callable[[], Tensor]) -> float:
    """Time of one forward and backward pass."""
    start = time.perf_counter()
    run().sum().backward()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="digits")
    parser.add_argument("--resolution", type=int, nargs="*", default=[])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    space = open_space(asked.space, resolutions=tuple(asked.resolution))
    net = Supernet(space).train()
    static, default_order = net.extract(space.largest), net.extract(space.largest)
    for parameter in default_order.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    images = torch.randn(asked.batch, space.image_chs, space.resolutions[-1], space.resolutions[-1])
    channels_last = images.clone(memory_format=torch.channels_last)
    variants: dict[str, Callable[[], Tensor]] = {
        "elastic": lambda: net(channels_last, space.largest),
        "static": lambda: static(channels_last),
        "static, default order": lambda: default_order(images),
    }
    for run in variants.values():
        pass_ms(run)
    rng, rounds = np.random.default_rng(0), []
    for _ in range(asked.rounds):
        rounds.append({name: pass_ms(variants[name]) for name in rng.permutation(list(variants)).tolist()})
    rows = []
    for name in ("static", "static, default order"):
        ratio = Measurement(tuple(times["elastic"] / times[name] for times in rounds))
        rows.append({"space": space.name, "batch": asked.batch, "elastic_against": name, "ratio": ratio.latency_ms,
                     "interval": ratio.interval_ms, "elastic_ms": float(np.median([t["elastic"] for t in rounds])),
                     "rounds": asked.rounds})  # fmt: skip
    if asked.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            low, high = row["interval"]
            print(f"{row['space']}, batch {row['batch']}, elastic {row['elastic_ms']:.0f} ms: "
                  f"{row['ratio']:.3f} [{low:.3f}, {high:.3f}] of {row['elastic_against']}")  # fmt: skip


if __name__ == "__main__":
    main()
