"""Make a trained supernet one that comes with hwnas: its weights in 16 bits, in `hwnas/supernets/`.

    hwnas train --recipe sandwich --steps 6000 --seed 0 --workspace FOLDER
    python tools/ship_supernet.py FOLDER

Batch norm is measured anew for every subnet, so that 16 bits cost no accuracy; what they do cost is printed: accuracies
of the smallest and the largest subnet before and after. Statistics of batch norm are those of the largest subnet, in 32
bits: variances exceed what 16 bits hold (65504). The subnets that a search judges first are judged here, and
what comes out goes along.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import hwnas
from hwnas.pricing import evenly_spread
from hwnas.search.subnets import EVALUATED_SUBNETS
from hwnas.training.evaluate import SubnetEvaluator
from hwnas.training.weights import TrainedSupernet, load_supernet, save_supernet, shipped_evaluations
from hwnas.workspace import Workspace

MOST_BYTES = 5_000_000


def main() -> None:
    """Write the file, and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--space", default="digits")
    parser.add_argument("--data", default="digit-pairs")
    asked = parser.parse_args()
    source = load_supernet(Workspace(asked.workspace).supernet(asked.space, asked.data))
    before = accuracies(source)
    path = Path(hwnas.__file__).parent / "supernets" / f"{asked.space}-{asked.data}.safetensors"
    path.parent.mkdir(exist_ok=True)
    shrink(source)
    save_supernet(source.net, path, data=source.data, plan=source.plan)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, more than {MOST_BYTES}")
    print(f"{path}: {size} bytes")
    evaluator = SubnetEvaluator(shipped := load_supernet(path), shipped.dataset(""), shipped_evaluations(path))
    space = shipped.net.space
    for row in evenly_spread(space, EVALUATED_SUBNETS, np.random.default_rng(0)):
        evaluator.validation_accuracy(space.arch(row))
    for (name, old), new in zip(before.items(), accuracies(shipped).values(), strict=True):
        print(f"{name}: {old:.1%} in 32 bits, {new:.1%} in 16")


def shrink(trained: TrainedSupernet) -> None:
    """Take the weights to 16 bits, and batch-norm statistics from the largest subnet with these weights."""
    net, space = trained.net, trained.net.space
    with tempfile.TemporaryDirectory() as folder:
        for parameter in net.parameters():
            parameter.data = parameter.data.half().float()
        evaluator = SubnetEvaluator(trained, trained.dataset(""), Path(folder) / "evaluations.jsonl")
        largest = evaluator.subnet(space.largest)
    for slot, block in space.layers(space.largest).items():
        for layer in block.layers:
            elastic, static = net.elastic(slot).layers[layer.name], largest.slots[slot].layers[layer.name]
            if layer.norm:
                elastic.mean.copy_(static.norm.running_mean)
                elastic.var.copy_(static.norm.running_var)
    for parameter in net.parameters():
        parameter.data = parameter.data.half()


def accuracies(trained: TrainedSupernet) -> dict[str, float]:
    """Of the smallest and the largest subnet, on validation images."""
    space = trained.net.space
    with tempfile.TemporaryDirectory() as folder:
        evaluator = SubnetEvaluator(trained, trained.dataset(""), Path(folder) / "evaluations.jsonl")
        named = {"smallest": space.smallest, "largest": space.largest}
        return {name: evaluator.validation_accuracy(space.parse(str(arch))) for name, arch in named.items()}


if __name__ == "__main__":
    main()
