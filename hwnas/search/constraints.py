"""A Constraint: an additive or rising cost of an architecture that must not exceed a limit. Hard, always."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Arch, Population
from hwnas.pricing import Floats
from profilers.errors import InfeasibleError


class Cost(Protocol):
    """A cost of architectures whose least value over the space can be computed exactly."""

    def __call__(self, population: Population) -> Floats:
        """Costs of n architectures, (n,)."""
        ...

    def least(self) -> tuple[float, Arch]:
        """The least attainable cost and an architecture that attains it."""
        ...


@dataclass(frozen=True)
class Constraint:
    """`cost` must be at most `limit`; `unit` is for messages."""

    name: str
    cost: Cost
    limit: float
    unit: str = ""

    def met(self, population: Population) -> NDArray[np.bool_]:
        """Which of n architectures meet the constraint, (n,)."""
        return np.asarray(self.cost(population) <= self.limit)

    def anchor(self) -> Arch:
        """The architecture of least cost; raises InfeasibleError, with that cost, if even it is above the limit."""
        least, arch = self.cost.least()
        if least > self.limit:
            raise InfeasibleError(
                f"no architecture of {arch.space} has a {self.name} of at most {self.limit:.4g} {self.unit}: "
                f"the least attainable is {least:.4g} {self.unit}; allow that much, or take a smaller space",
                least,
            )
        return arch
