"""Recipes compared: what subnets inherit from supernets trained by each, against the same subnets trained alone.

    python tools/recipes.py --steps 1000 --recipes progressive sandwich uniform fair --keep FOLDER

Each recipe trains a supernet with the same number of steps, batch and schedule; then its smallest, its largest and 20
random subnets are judged on test images, with batch-norm statistics of their own. The same 20 are trained alone, from
scratch, with as many steps. Parts that are done are kept in FOLDER: started again, the same command goes on, and a
second process with the same FOLDER takes parts that no other is at.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch import Tensor

from hwnas.arch import Arch
from hwnas.nets.supernet import Supernet
from hwnas.space import Dimension, SearchSpace
from hwnas.spaces import open_space
from hwnas.training.datasets import Dataset, Split, open_dataset
from hwnas.training.evaluate import BATCH, FIRST_CALIBRATION_BATCH, accuracy, recalibrate, to_tensors
from hwnas.training.loop import train
from hwnas.training.objective import resized
from hwnas.training.plan import TrainPlan
from hwnas.training.weights import read_tensors
from lut.blocks import Block
from lut.storage import write_atomically

CALIBRATION_BATCHES, TEST_BATCHES = 6, 40
RESAMPLES = 2000
SUBNETS_SEED = 20
Values = NDArray[np.float64]
Part = Mapping[str, Any]


class Alone(SearchSpace):
    """A space of one architecture, so that a net is trained alone by the very loop that trains supernets."""

    def __init__(self, space: SearchSpace, arch: Arch) -> None:
        self.name, self._space = f"{arch} alone", space
        self.classes, self.image_chs, self.resolutions = space.classes, space.image_chs, space.resolutions
        self.dimensions = tuple(
            Dimension(d.name, (value,), d.slots) for d, value in zip(space.dimensions, arch.values, strict=True)
        )

    def layers(self, arch: Arch) -> dict[str, Block]:
        """The blocks of the architecture."""
        return self._space.layers(Arch(self._space.name, arch.values))

    def resolution(self, arch: Arch) -> int:
        """Height and width of its images."""
        return self._space.resolution(Arch(self._space.name, arch.values))


class Study:
    """What all parts have in common, and the folder they are kept in."""

    def __init__(self, space: SearchSpace, dataset: Dataset, plan: TrainPlan, subnets: int, folder: Path) -> None:
        self.space, self.dataset, self.plan, self.folder = space, dataset, plan, folder
        rows = np.unique(space.sample(2 * subnets, np.random.default_rng(SUBNETS_SEED)), axis=0)
        chosen = np.random.default_rng(SUBNETS_SEED).permutation(len(rows))[:subnets]
        self.archs = [space.arch(row) for row in rows[chosen]]
        folder.mkdir(parents=True, exist_ok=True)

    def parts(self, recipes: list[str]) -> dict[str, Callable[[str], Part]]:
        """What there is to do, by name."""
        supernets = {f"recipe-{recipe}": self._supernet(recipe) for recipe in recipes}
        return supernets | {f"alone-{number:02d}": self._alone(arch) for number, arch in enumerate(self.archs)}

    def done(self, name: str) -> Part | None:
        """The result of a part, if it is there; ends the program if it is of other settings."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        found: Part = json.loads(path.read_text())
        if found["settings"] != self._settings():
            raise SystemExit(f"{path} was made with other settings: choose another --keep")
        return found

    def finish(self, parts: Mapping[str, Callable[[str], Part]]) -> dict[str, Part]:
        """The results of all parts; those that another process is at are waited for, when nothing else is left."""
        waiting = {name: run for name, run in parts.items() if not self.done(name)}
        patience_s = 0.0
        while waiting:
            before = len(waiting)
            for name in list(waiting):
                try:
                    with filelock.FileLock(self.folder / f"{name}.lock", timeout=patience_s):
                        if not self.done(name):
                            self._keep(name, waiting[name](name))
                        del waiting[name]
                except filelock.Timeout:
                    continue
            patience_s = 1.0 if len(waiting) == before else 0.0
        return {name: result for name in parts if (result := self.done(name))}

    def _settings(self) -> dict[str, Any]:
        return {"space": self.space.name, "data": self.dataset.name, "plan": asdict(self.plan) | {"recipe": ""}}

    def _keep(self, name: str, result: Part) -> None:
        text = json.dumps({**result, "settings": self._settings()}, indent=2)
        write_atomically(self.folder / f"{name}.json", text.encode())
        (self.folder / f"{name}.safetensors").unlink()

    def _supernet(self, recipe: str) -> Callable[[str], Part]:
        def run(name: str) -> Part:
            net, seconds = self._trained(name, self.space, recipe)
            archs = [self.space.smallest, self.space.largest, *self.archs]
            return {"seconds": seconds, "accuracies": {str(arch): self._judged(net, arch) for arch in archs}}

        return run

    def _alone(self, arch: Arch) -> Callable[[str], Part]:
        def run(name: str) -> Part:
            space = Alone(self.space, arch)
            net, seconds = self._trained(name, space, "uniform")  # of one architecture
            return {"seconds": seconds, "accuracies": {str(arch): self._judged(net, space.largest)}}

        return run

    def _trained(self, name: str, space: SearchSpace, recipe: str) -> tuple[Supernet, float]:
        """A trained net, and the seconds that took, broken runs included."""
        net, checkpoint = Supernet(space, self.plan.seed), self.folder / f"{name}.safetensors"
        train(net, self.dataset, replace(self.plan, recipe=recipe), checkpoint)
        return net, float(read_tensors(checkpoint)[1]["seconds"])

    def _judged(self, net: Supernet, arch: Arch) -> float:
        subnet, hw = net.extract(arch), net.space.resolution(arch)
        batches = self._batches("train", hw, FIRST_CALIBRATION_BATCH, CALIBRATION_BATCHES)
        recalibrate(subnet, (images for images, _ in batches))
        return accuracy(subnet.eval(), self._batches("test", hw, 0, TEST_BATCHES))

    def _batches(self, split: Split, hw: int, first: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        for index in range(first, first + count):
            images, labels = to_tensors(self.dataset.batch(split, index, BATCH))
            yield resized(images, hw), labels


def resampled(figure: Callable[[Values, Values], float], inherited: Values, alone: Values) -> tuple[float, float]:
    """95 % interval of a figure of pairs, from subnets drawn with replacement (Efron 1979)."""
    rng, count = np.random.default_rng(0), len(alone)
    drawn = [rng.integers(0, count, count) for _ in range(RESAMPLES)]
    low, high = np.nanpercentile([figure(inherited[rows], alone[rows]) for rows in drawn], (2.5, 97.5))
    return float(low), float(high)


def tau(inherited: Values, alone: Values) -> float:
    """Kendall's tau-b; no number where either is the same for all."""
    return float(kendalltau(inherited, alone).statistic)


def gap(inherited: Values, alone: Values) -> float:
    """How much more accurate subnets trained alone are, on average."""
    return float(np.mean(alone - inherited))


def compared(study: Study, recipe: str, results: Mapping[str, Part]) -> dict[str, Any]:
    """The figures of one recipe."""
    of_recipe, found = results[f"recipe-{recipe}"], results[f"recipe-{recipe}"]["accuracies"]
    inherited = np.array([found[str(arch)] for arch in study.archs])
    alone = np.array([results[f"alone-{n:02d}"]["accuracies"][str(arch)] for n, arch in enumerate(study.archs)])
    return {
        "recipe": recipe, "steps": study.plan.steps, "seconds": of_recipe["seconds"],
        "smallest": found[str(study.space.smallest)], "random": float(inherited.mean()),
        "largest": found[str(study.space.largest)], "alone": float(alone.mean()),
        "gap": gap(inherited, alone), "gap_interval": resampled(gap, inherited, alone),
        "tau": tau(inherited, alone), "tau_interval": resampled(tau, inherited, alone),
        "inherited_each": inherited.tolist(), "alone_each": alone.tolist(),
    }  # fmt: skip


def main() -> None:
    """Train what is not there yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", default=["progressive", "sandwich", "uniform", "fair"])
    parser.add_argument("--space", default="digits")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.3)
    parser.add_argument("--subnets", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("recipes-study"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    dataset = open_dataset("digit-pairs", asked.seed)
    plan = TrainPlan(steps=asked.steps, batch=asked.batch, lr=asked.lr, seed=asked.seed)
    study = Study(open_space(asked.space), dataset, plan, asked.subnets, asked.keep)
    results = study.finish(study.parts(asked.recipes))
    rows = [compared(study, recipe, results) for recipe in asked.recipes]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        gaps, taus = ("[{:.3f}, {:.3f}]".format(*row[key]) for key in ("gap_interval", "tau_interval"))
        print(f"{row['recipe']} ({row['seconds']:.0f} s): smallest {row['smallest']:.1%}, random {row['random']:.1%}, "
              f"largest {row['largest']:.1%}; alone {row['alone']:.1%}, gap {row['gap']:.3f} {gaps}; "
              f"tau {row['tau']:.2f} {taus}")  # fmt: skip


if __name__ == "__main__":
    main()
