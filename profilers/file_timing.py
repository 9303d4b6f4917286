"""How long model files of the user's own take on a device, measured like everything else: in rounds, beside a sentinel.

Several files are visited in the same rounds, so that each is compared with the first within one mood of the machine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from profilers.errors import UntrustedError
from profilers.footprint import Footprint, footprint
from profilers.formats import ModelFile
from profilers.measurement import Measurement, Plan, Visit, all_undisturbed, calm_sentinel_ms
from profilers.profiler import Profiler

PERCENTILES = (50, 90, 99)
REPETITIONS = 50  # undisturbed ones at least: percentiles are read off them
LEAST_PAIRS = 4


@dataclass(frozen=True, kw_only=True)
class FileTiming:
    """What was found of one file."""

    measurement: Measurement
    undisturbed_ms: tuple[float, ...]  # repetitions during which nothing disturbed the device
    all_ms: tuple[float, ...]
    footprint: Footprint | None  # None on a device that is not this machine
    ratio: Measurement | None  # to the first file, of repetitions of one round; None for that one itself


def percentiles_ms(repetitions_ms: Sequence[float]) -> dict[str, float]:
    """The percentiles of repetitions, under the names that `--json` has for them; empty where there is none."""
    return {f"p{share}_ms": float(np.percentile(repetitions_ms, share)) for share in PERCENTILES if repetitions_ms}


def time_files(
    models: Mapping[str, ModelFile],
    profiler: Profiler,
    plan: Plan,
    report: Callable[[str, float, str], None] = lambda *_: None,
) -> dict[str, FileTiming]:
    """Measure files by name in the same rounds; `report` is told the task, how far it is, and a note.

    Raises DeviceError where the device fails or refuses a file.
    """
    plan = replace(plan, min_samples=min(max(REPETITIONS, plan.min_samples), plan.max_rounds))
    local = profiler.device.connect == "local"
    prints = {name: footprint(model, profiler.device) if local else None for name, model in models.items()}
    rounds = list[Mapping[str, Visit]]()
    for done in profiler.measure(models, plan):
        if done.visits:
            rounds.append(done.visits)
        report("measure", min(0.99, len(rounds) / plan.min_samples), f"{len(rounds)} rounds")
    report("measure", 1.0, f"{len(rounds)} rounds")
    visits = {name: [found[name] for found in rounds if name in found] for name in models}
    if not all(visits.values()):
        raise UntrustedError("the device ended before every file was measured once: give it more time, --careful")
    calm_ms = calm_sentinel_ms(visit for of_one in visits.values() for visit in of_one)
    first, found = next(iter(models)), all_undisturbed(visits)
    return {
        name: FileTiming(
            measurement=found[name],
            undisturbed_ms=tuple(visit.ms for visit in visits[name] if visit.calm(calm_ms)),
            all_ms=tuple(visit.ms for visit in visits[name]),
            footprint=prints[name],
            ratio=None if name == first else _ratio(rounds, name, first, calm_ms),
        )
        for name in models
    }


def _ratio(rounds: Sequence[Mapping[str, Visit]], name: str, first: str, calm_ms: float) -> Measurement:
    """The median ratio of two files' times in one round: of undisturbed rounds, or of all if these are too few."""
    pairs = [(found[name], found[first]) for found in rounds if name in found and first in found]
    calm = [(one, other) for one, other in pairs if one.calm(calm_ms) and other.calm(calm_ms)]
    return Measurement(tuple(one.ms / other.ms for one, other in (calm if len(calm) >= LEAST_PAIRS else pairs)))
