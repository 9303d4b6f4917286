"""Budgets that were asked for together: each stands alone, and one that cannot be kept cancels none of the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwnas.search.constraints import Constraints
from hwnas.search.feasibility import feasible_row
from profilers.errors import HwnasError, InfeasibleError

Budget = Mapping[str, float]
"""Latencies in ms by device."""


@dataclass(frozen=True)
class Refused:
    """A budget for which there is no network, and why."""

    budget: Budget
    error: HwnasError

    def facts(self) -> dict[str, Any]:
        """What is told of it, under the names that `--json` has for it; those of the first device on top."""
        devices = [{"device": name, "budget_ms": limit_ms} for name, limit_ms in self.budget.items()]
        return {
            **(devices[0] if devices else {}),
            "error": str(self.error),
            "exit_code": self.error.exit_code,
            **({"least_attainable": self.error.least} if isinstance(self.error, InfeasibleError) else {}),
            **({"devices": devices} if len(devices) > 1 else {}),
        }


def refused(budgets: Sequence[Budget], problems: Sequence[Constraints]) -> list[Refused | None]:
    """For each budget why nothing keeps it, or None; raises InfeasibleError where that is so of every budget."""
    found = [_refused(budget, problem) for budget, problem in zip(budgets, problems, strict=True)]
    kept_back = [one for one in found if one]
    if kept_back and len(kept_back) == len(found):
        raise max(kept_back, key=lambda one: max(one.budget.values(), default=0.0)).error
    return found


def _refused(budget: Budget, problem: Constraints) -> Refused | None:
    try:
        feasible_row(problem)
    except InfeasibleError as error:
        return Refused(budget, error)
    return None


def in_order(
    budgets: Sequence[Budget], done: Iterable[dict[str, Any]], left: Sequence[Refused]
) -> list[dict[str, Any]]:
    """Facts of networks and of refused budgets, in the order in which the budgets were asked for."""
    coming, why = iter(done), {id(one.budget): one for one in left}
    return [why[id(budget)].facts() if id(budget) in why else next(coming) for budget in budgets]
