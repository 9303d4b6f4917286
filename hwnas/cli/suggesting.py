"""Commands that a message suggests, spelled whole: with the devices, limits and data that the user asked for."""

import shlex
from collections.abc import Mapping

from hwnas.cli.steps import Job
from hwnas.search.limits import Limits
from hwnas.space import SearchSpace


def specialize_command(
    budget_ms: Mapping[str, float],
    jobs: Mapping[str, Job],
    space: SearchSpace,
    limits: Limits,
    *,
    seed: int = 0,
    evaluations: int | None = None,
) -> str:
    """`hwnas specialize` for another space than that of the jobs; "" where a device is known from a table only.

    The data stay if the other space takes images of as many channels; else a folder of images is to be put in.
    """
    if any(job.published for job in jobs.values()):
        return ""
    job = jobs[next(iter(budget_ms))]
    words = ["hwnas", "specialize", "--space", space.name]
    if job.data and space.image_chs == job.space.image_chs:
        words += ["--data", job.data]
    elif space.image_chs == 3:
        words += ["--data", "imagefolder:FOLDER"]
    if len(budget_ms) == 1:
        words += ["--device", job.device.name]
        words += ["--latency", f"{budget_ms[job.device.name]:.15g}ms"]
    else:
        words += ["--latency", ",".join(f"{name}={ms:.15g}ms" for name, ms in budget_ms.items())]
    for option in ("runtime", "precision"):
        values = {getattr(jobs[name].device, option) for name in budget_ms}
        words += [f"--{option}", *values] if len(values) == 1 else []  # else they are the devices' own
    figures = {
        "macs": limits.macs, "params": limits.params, "memory": limits.memory_bytes, "file-size": limits.file_bytes,
        "confidence": limits.confidence_pct, "seed": seed or None, "evaluations": evaluations,
    }  # fmt: skip
    for name, figure in figures.items():
        unit = "B" if name in ("memory", "file-size") else ""
        if figure is not None:
            words += [f"--{name}", f"{figure:.6f}".rstrip("0").rstrip(".") + unit]  # and no exponent
    if job.workspace.root.name != "hwnas-work" or job.workspace.root.is_absolute():
        words += ["--workspace", str(job.workspace.root)]
    return shlex.join(words)
