"""`hwnas profile --like`: a usable table of a new device in seconds, from those of others and a few measured nets."""

from pathlib import Path
from typing import Any

from hwnas.cli.display import ProgressDisplay, out, say, say_of
from hwnas.cli.steps import Job
from hwnas.transferring import profile_like
from lut.table import LatencyTable
from profilers.errors import InvalidInputError
from profilers.installed import check_installed
from profilers.measurement import Plan
from profilers.profiler import open_profiler


def profile_like_others(job: Job, like: str, samples: int, plan: Plan) -> dict[str, Any]:
    """Measure `samples` nets on the job's device and learn the rest from the tables `like` names; facts to show."""
    sources = _sources(job, like)
    check_installed(job.device)
    with open_profiler(job.device, say_of(job.device.name)) as profiler, ProgressDisplay() as display:
        table = LatencyTable.open(job.table_path, job.device.name, profiler.fingerprint())
        done = profile_like(job.space, profiler, table, sources, samples, plan, display)
    calibration = done.found.calibration
    return {
        "device": job.device.name,
        "space": job.space.name,
        "table": str(job.table_path),
        "transferred_from": list(sources),
        "transferred_blocks": done.blocks,
        "samples": done.samples,
        "measured_models": done.measured,
        "left_out_mean_error_pct": calibration.mean_error_pct,
        "left_out_max_error_pct": calibration.max_error_pct,
        "seconds": done.seconds,
    }


def show_liking(facts: dict[str, Any]) -> None:
    """What came of it, in a few lines."""
    out(
        f"{facts['table']}: {facts['transferred_blocks']} blocks of {facts['space']} transferred from "
        f"{', '.join(facts['transferred_from'])} by {facts['samples']} measured nets; each of these predicted without "
        f"itself: mean error {facts['left_out_mean_error_pct']:.1f} %, largest {facts['left_out_max_error_pct']:.1f} %"
    )
    say(f"more --samples make it better; hwnas profile --device {facts['device']} measures every block instead")


def _sources(job: Job, like: str) -> dict[str, LatencyTable]:
    """The tables of devices by name, or table files themselves."""
    found = {}
    for name in like.split(","):
        path = Path(name) if name.endswith(".jsonl") else job.on(name, None, None).table_path
        if path.resolve() == job.table_path.resolve():
            raise InvalidInputError(
                f"{name} is the table that is to be made: give --like other devices, or their tables"
            )
        found[name] = LatencyTable.read(path)
    return found
