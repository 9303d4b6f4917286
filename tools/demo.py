"""The main job on this CPU and real data, as a user would type it: profile, specialise for three budgets.

The budgets are chosen from what this machine's table says is attainable, so that they mean something on any machine.
"""

import subprocess
import sys
import time
from pathlib import Path

from hwnas.cli.steps import Job
from hwnas.pricing import latency_model

WORKSPACE = Path("demo-work")
SHARES = (0.1, 0.25, 0.5)  # of the way from the fastest architecture to the largest


def run(*arguments: str) -> None:
    """Run a command of hwnas, showing it first; the demo ends where the command fails."""
    print(f"\n$ hwnas {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "hwnas", *arguments, "--workspace", str(WORKSPACE)]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


def budgets() -> str:
    """Three latencies between the least attainable one and the largest net's, as --latency takes them."""
    job = Job.of(WORKSPACE, "host", None, None, "digits", (), "digit-pairs")
    model = latency_model(job.table(), job.space)
    least_ms, _ = model.least()
    largest_ms = float(model.latency_ms(job.space.row(job.space.largest)[None])[0])
    return ",".join(f"{1000 * (least_ms + share * (largest_ms - least_ms)):.0f}us" for share in SHARES)


def main() -> None:
    """Run the commands."""
    started = time.monotonic()
    run("devices")
    run("profile", "--device", "host")
    run("specialize", "--latency", budgets())
    run("report")
    print(f"\nThe demo took {time.monotonic() - started:.0f} s; everything it made is in {WORKSPACE}/.")


if __name__ == "__main__":
    main()
