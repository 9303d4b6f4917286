"""Boosted trees as arrays: what scikit-learn fits, evaluated for whole populations without it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwnas.search.accuracy.features import Array
from lut.compiled import Floats

Indices = NDArray[np.intp]
SETTINGS: dict[str, Any] = {"max_depth": 2, "n_estimators": 100, "learning_rate": 0.05, "random_state": 0}


@dataclass(frozen=True, eq=False)
class Boosting:
    """The nodes of all trees in one row; a leaf's children are itself, so walking on from it stays there."""

    base: Floats  # (), the mean accuracy
    roots: Indices  # (trees,)
    left: Indices  # (nodes,), where a feature is at most the threshold; never before its parent
    right: Indices
    feature: Indices
    threshold: Floats
    value: Floats  # learning rate included

    @classmethod
    def fit(cls, features: Array, accuracies: Floats) -> Self:
        """A hundred trees of two levels, each of what the ones before left over (Friedman 2001)."""
        from sklearn.ensemble import GradientBoostingRegressor

        fitted = GradientBoostingRegressor(**SETTINGS).fit(features, accuracies)
        trees = [estimator.tree_ for (estimator,) in fitted.estimators_]
        sizes = [tree.node_count for tree in trees]
        roots = np.cumsum([0, *sizes[:-1]])
        itself, shift = np.arange(sum(sizes)), np.repeat(roots, sizes)
        left, right, feature, threshold, value = (
            np.concatenate([getattr(tree, name).reshape(tree.node_count) for tree in trees])
            for name in ("children_left", "children_right", "feature", "threshold", "value")
        )
        leaf = left < 0
        return cls(
            base=np.array(fitted.init_.constant_.item()),
            roots=roots,
            left=np.where(leaf, itself, left + shift),
            right=np.where(leaf, itself, right + shift),
            feature=np.where(leaf, 0, feature),
            threshold=threshold,
            value=fitted.learning_rate * value,
        )

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], width: int) -> Self:
        """What `arrays` gave; raises KeyError or ValueError if these are no trees over `width` features."""
        found = cls(**{name: arrays[name] for name in cls.__dataclass_fields__})
        nodes = (found.left, found.right, found.feature, found.threshold, found.value)
        count = len(found.value)
        if found.base.shape != () or found.roots.ndim != 1 or any(array.shape != (count,) for array in nodes):
            raise ValueError("the arrays of its trees differ in length")
        if any(array.dtype.kind != "i" for array in (found.roots, found.left, found.right, found.feature)):
            raise ValueError("places in its trees are no whole numbers")
        itself = np.arange(count)
        ahead = all(((child >= itself) & (child < count)).all() for child in (found.left, found.right))
        if not ahead or not _within(found.roots, count) or not _within(found.feature, width):
            raise ValueError(f"its trees point at nodes or features that are not there; there are {width} features")
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The regressor as arrays by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __call__(self, features: Array) -> Floats:
        """Accuracies, (n,)."""
        rows = np.arange(len(features))[:, None]
        nodes = np.broadcast_to(self.roots, (len(features), len(self.roots)))
        for _ in range(self._depth):
            smaller = features[rows, self.feature[nodes]] <= self.threshold[nodes]
            nodes = np.where(smaller, self.left[nodes], self.right[nodes])
        return np.asarray(self.base + self.value[nodes].sum(axis=1))

    @cached_property
    def _depth(self) -> int:
        """Steps from the roots until only leaves are left."""
        depth, nodes = 0, self.roots
        while len(nodes := np.unique(nodes[self.left[nodes] != nodes])):
            nodes = np.concatenate([self.left[nodes], self.right[nodes]])
            depth += 1
        return depth


def _within(places: Indices, count: int) -> bool:
    return bool(((places >= 0) & (places < count)).all())
