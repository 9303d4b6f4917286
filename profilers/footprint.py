"""What a model file costs besides its runs: the time to load it, and the memory it takes, in a process of its own.

    python -m profilers.footprint RUNTIME THREADS FILE

prints both as JSON. The runtime is imported before, and counts for neither.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from profilers import backends
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.formats import ModelFile

TIMES = 3
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Footprint:
    """Of one model file."""

    load_ms: float  # until it can run, from the file's bytes: the median of a few processes
    peak_memory_bytes: int | None  # that the process grew by, at most, while it loaded and ran once; None: nobody tells


def footprint(model: ModelFile, device: Device) -> Footprint:
    """Load a model in fresh processes of this machine, and run it once; raises DeviceError where one dies of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{model.format}"
        path.write_bytes(model.content)
        found = [_of_one_process(path, device) for _ in range(TIMES)]
    grown = [peak for _, peak in found if peak is not None]
    return Footprint(median(load_ms for load_ms, _ in found), max(grown, default=None))


def _of_one_process(path: Path, device: Device) -> tuple[float, int | None]:
    words = [sys.executable, "-m", "profilers.footprint", device.runtime, str(device.threads), str(path)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{device.runtime} had not loaded the model after {TIMEOUT_S:.0f} s") from error
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise DeviceError(
            f"a process that loads the model ended with code {done.returncode}: {done.stderr[-200:].strip()}"
        )
    load_ms, peak = json.loads(lines[-1])
    return float(load_ms), peak


def _main() -> None:
    runtime, threads, path = sys.argv[1:]
    device, backend = Device(name="here", runtime=runtime, threads=int(threads)), backends.load(runtime)
    backend.version()  # which imports the runtime
    before = _memory_bytes("VmRSS")
    content = Path(path).read_bytes()
    start = time.perf_counter_ns()
    run = backend.load(content, device)
    load_ms = (time.perf_counter_ns() - start) / 1e6
    run()
    after = _memory_bytes("VmHWM")
    peak = None if before is None or after is None else max(0, after - before)
    sys.stdout.write(json.dumps([load_ms, peak]) + "\n")


def _memory_bytes(field: str) -> int | None:
    """What Linux says of this process, None where it is another system."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)


if __name__ == "__main__":
    _main()
