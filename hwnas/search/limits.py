"""Limits: everything a user may ask of an architecture besides accuracy, and the constraints these are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwnas import costs
from hwnas.search.constraints import Constraint, Constraints
from hwnas.space import SearchSpace
from lut.compiled import Compiled
from lut.latency_model import LatencyModel
from profilers.errors import InvalidInputError
from profilers.formats import FP32, Form


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most of everything but latency; None where nothing is asked. Sizes are of files and memory in `form`."""

    macs: float | None = None
    params: float | None = None
    memory_bytes: float | None = None  # peak of activations, for one image
    file_bytes: float | None = None
    confidence_pct: float | None = None  # keep latencies with the upper end of a prediction interval of so much
    format: str = "onnx"
    form: Form = FP32

    def constraints(
        self, space: SearchSpace, models: Mapping[str, LatencyModel], budget_ms: Mapping[str, float]
    ) -> Constraints:
        """These limits, and a budget in ms for each device of `models`, as constraints.

        No architecture with a block that a model does not price is within them, and their least values are of the
        others. Raises InvalidInputError where there are no others.
        """
        found = []
        for device, limit_ms in budget_ms.items():
            model, name = models[device], f"latency on {device}"
            if self.confidence_pct is None:
                found.append(Constraint(name, model.cost, limit_ms, "ms"))
            else:
                upper = model.upper(self.confidence_pct)
                found.append(Constraint(f"{name} at {self.confidence_pct:g} % confidence", upper, limit_ms, "ms"))
        if self.macs is not None:
            found.append(Constraint("number of MACs", costs.macs(space), self.macs, "M", 1e6))
        if self.params is not None:
            found.append(Constraint("number of parameters", costs.params(space), self.params, "M", 1e6))
        if self.memory_bytes is not None:
            peak = costs.peak_activation_bytes(space, self.form)
            found.append(Constraint("peak activation memory", peak, self.memory_bytes, "MB", 1e6))
        if self.file_bytes is not None:
            size = costs.file_bytes(space, self.format, self.form)
            found.append(Constraint("file size", size, self.file_bytes, "MB", 1e6))
        unavailable = {block for model in models.values() for block in model.unavailable}
        if unavailable:
            available = Compiled.of(space, lambda block: math.inf if block in unavailable else 0.0)
            if available.least()[0] == math.inf:
                raise InvalidInputError(
                    f"no architecture of {space.name} can do without the {len(unavailable)} blocks that have no time "
                    f"on {' or '.join(models)}, e.g. {min(block.key for block in unavailable)}: measure or import them"
                )
            found = [replace(constraint, cost=constraint.cost.only(available)) for constraint in found]
        return Constraints(tuple(found))
