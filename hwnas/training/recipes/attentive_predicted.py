"""Attentive sampling by a predictor: as `attentive`, but what is best of several subnets is foretold, not tried.

(AttentiveNAS, Wang et al. 2021, section 4, "BestUp-K" and "WorstUp-K" by a predictor.) The paper fits one, once, to
accuracies of subnets of a half-trained supernet. This one learns as training goes on, from the losses of the subnets
that were picked: they cost nothing extra, and what is best may change. A loss counts relative to the smallest net's,
which learns from the same images and the same teacher, so that hard batches and early steps do not.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hwnas.arch import Arch
from hwnas.nets.supernet import Supernet
from hwnas.search.accuracy.features import Features
from hwnas.space import SearchSpace
from hwnas.training.objective import learn, learn_and_teach, mean_over_ranks
from hwnas.training.sampling import of_like_macs

CANDIDATES = 10
LEAST, KEPT = 30, 300  # losses that a prediction needs, and those it goes by: the latest
PENALTY = 1.0  # of ridge regression


class AttentivePredicted:
    """Picks among subnets of like MACs the one that should have the least loss, or else the most."""

    def __init__(self, best: bool = True) -> None:
        self._best = best
        self._rows = torch.empty((0, 0), dtype=torch.int64)  # of the picked, (n, dims)
        self._losses = torch.empty(0, dtype=torch.float64)  # relative ones, (n,)

    def backward(
        self,
        net: Supernet,
        images: Tensor,
        labels: Tensor,
        progress: float,  # noqa: ARG002 - all steps are alike
        rng: np.random.Generator,
    ) -> Mapping[str, float]:
        """Add one step's gradients: images (B, C, H, W), labels (B,) or (B, classes)."""
        largest, soft_labels = learn_and_teach(net, images, labels)
        smallest = learn(net, net.space.smallest, images, soft_labels)
        picked = self._pick(net.space, of_like_macs(net.space, CANDIDATES, rng))
        loss = learn(net, picked, images, soft_labels)
        relative = mean_over_ranks(torch.tensor([loss - smallest], dtype=torch.float64, device=images.device)).cpu()
        row = torch.from_numpy(net.space.row(picked).astype(np.int64))[None]
        self._rows = torch.cat([self._rows.reshape(-1, row.shape[1]), row])[-KEPT:]
        self._losses = torch.cat([self._losses, relative])[-KEPT:]
        return {"largest": largest, "smallest": smallest, "picked": loss}

    def state(self) -> dict[str, Tensor]:
        """The latest picked subnets, and their losses."""
        return {"rows": self._rows, "losses": self._losses} if len(self._losses) else {}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what was picked; raises ValueError if it is not that."""
        if not tensors:
            return
        if tensors.keys() != {"rows", "losses"} or len(tensors["rows"]) != len(tensors["losses"]):
            raise ValueError("subnets and their losses are wanted")
        self._rows, self._losses = tensors["rows"].cpu(), tensors["losses"].cpu()

    def _pick(self, space: SearchSpace, archs: list[Arch]) -> Arch:
        if len(self._losses) < LEAST:
            return archs[0]
        known, losses = self._rows.numpy().astype(np.intp), self._losses.numpy()
        rows = np.concatenate([known, np.stack([space.row(arch) for arch in archs])])
        features = _features_of(space)(rows).astype(np.float64)
        features -= features.mean(axis=0)
        seen, candidates = features[: len(known)], features[len(known) :]
        worth = np.linalg.solve(seen.T @ seen + PENALTY * np.eye(seen.shape[1]), seen.T @ (losses - losses.mean()))
        foretold = candidates @ worth
        return archs[int(foretold.argmin() if self._best else foretold.argmax())]


@lru_cache(maxsize=4)
def _features_of(space: SearchSpace) -> Features:
    return Features(space)


def build() -> AttentivePredicted:
    """The recipe that picks the best; it knows no losses yet."""
    return AttentivePredicted()
