"""Several devices at once: each is profiled in a thread of its own, and one that fails stops none of the others.

One device under several names (as fp32 and as int8, say) is measured under one after the other.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from hwnas.cli.display import ProgressDisplay
from hwnas.cli.steps import Job, run_profile
from hwnas.profiling import ProfileSummary
from hwnas.progress import Report
from profilers.errors import DeviceError, HwnasError
from profilers.measurement import Plan

WAKE_S = 0.2  # so that Ctrl-C is heard


def profile_all(jobs: Sequence[Job], plan: Plan) -> list[ProfileSummary | HwnasError]:
    """What came of profiling each job's device, in their order; progress is shown together."""
    stop, locks = threading.Event(), {job.device.connect: threading.Lock() for job in jobs}
    with ProgressDisplay() as display, ThreadPoolExecutor(len(jobs)) as pool:
        waiting = [
            pool.submit(_profile, job, plan, _report_of(job, display, stop, len(jobs) > 1), locks[job.device.connect])
            for job in jobs
        ]
        try:
            while wait(waiting, WAKE_S).not_done:
                pass
        except BaseException:
            stop.set()  # the threads end after the round they are in
            raise
    return [future.result() for future in waiting]


def _profile(job: Job, plan: Plan, report: Report, alone: threading.Lock) -> ProfileSummary | HwnasError:
    try:
        with alone:
            return run_profile(job, plan, report)
    except HwnasError as error:
        return error


def _report_of(job: Job, display: ProgressDisplay, stop: threading.Event, named: bool) -> Report:
    def report(task: str, fraction: float, note: str) -> None:
        if stop.is_set():
            raise DeviceError("interrupted")
        display(f"{job.device.name}: {task}" if named else task, fraction, note)

    return report
