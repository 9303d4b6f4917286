"""The smallest set of nets that covers several budgets: fewer models to train, test and ship, at a stated loss."""

import numpy as np
from numpy.typing import NDArray

from lut.compiled import Floats
from profilers.errors import InvalidInputError


def smallest_cover(accuracies: Floats, meets: NDArray[np.bool_], most_loss: float) -> list[int]:
    """For each budget the architecture that serves it, by its number, where these are as few different ones as can be.

    `accuracies` are (n,); `meets` (budgets, n) says which architecture meets which budget, on all devices the budget
    is for. Each serves a budget it meets, and is at most `most_loss` less accurate than the best that meets it. Of the
    smallest sets it is one with the largest sum of accuracies. Raises InvalidInputError for a budget that none meets.

    A minimal set cover, solved as an integer program by HiGHS: exact.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    unmet = np.flatnonzero(~meets.any(axis=1))
    if len(unmet):
        raise InvalidInputError(f"no architecture that was scored meets budget {unmet[0] + 1}; search at that budget")
    best = np.where(meets, accuracies, -np.inf).max(axis=1)
    serves = meets & (accuracies >= best[:, None] - most_loss)
    # Of architectures that serve the same budgets only the most accurate can be needed.
    patterns, kind = np.unique(serves, axis=1, return_inverse=True)
    kind = kind.reshape(-1)
    order = np.lexsort((-accuracies, kind))
    candidates = order[np.unique(kind[order], return_index=True)[1]]
    candidates = candidates[patterns.any(axis=0)]
    # One net less is worth more than whatever accuracy can be gained by others.
    lacking = (accuracies.max() - accuracies[candidates]) / (np.ptp(accuracies) * (len(meets) + 1) or 1.0)
    found = milp(
        1 + lacking / 2,
        integrality=1,
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(serves[:, candidates], lb=1),
    )
    chosen = candidates[found.x > 0.5]
    served = np.where(serves[:, chosen], accuracies[chosen], -np.inf).argmax(axis=1)
    return [int(number) for number in chosen[served]]
