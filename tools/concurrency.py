"""Many processes at one file: how often something is lost or left damaged.

    python tools/concurrency.py [--trials 40] [--processes 6]

Trials of two kinds. In `log` all processes open one new log at the same moment and append records to it: a record is
lost if its `append` returned and it is not in the file. In `devices` each adds the same device to a `devices.toml`
that is not there yet: one may succeed, the others are to be refused, and the file must declare it once.
"""

import argparse
import multiprocessing
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from lut.storage import RecordLog, TornRecordWarning
from profilers.configuration import add_device, find_device
from profilers.device import Device
from profilers.errors import InvalidInputError

HEADER = {"format": "trial", "version": 1}
SPAWN = multiprocessing.get_context("fork")


def append_some(path: Path, start: Any, said: Any, worker: int) -> None:
    """Open the log and append three records, each acknowledged through the queue `said`."""
    warnings.simplefilter("ignore", TornRecordWarning)  # another process is in the middle of a line
    start.wait()
    log = RecordLog.open(path, HEADER)
    for number in range(3):
        log.append({"worker": worker, "number": number})
        said.put((worker, number))


def add_one(path: Path, start: Any, said: Any, worker: int) -> None:
    """Add the device, with a setting that tells the workers apart."""
    start.wait()
    try:
        add_device(Device(name="toy", runtime="fake", threads=worker + 1), path)
        said.put(worker)
    except InvalidInputError as error:
        if "already" not in str(error):
            raise


def trial(work: Any, path: Path, processes: int) -> list[Any]:
    """What the processes acknowledged, started at one moment; raises where one of them failed."""
    start, said = SPAWN.Barrier(processes), SPAWN.SimpleQueue()
    workers = [SPAWN.Process(target=work, args=(path, start, said, worker)) for worker in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed := [worker.exitcode for worker in workers if worker.exitcode]:
        raise RuntimeError(f"{len(failed)} of {processes} processes failed")
    found = []
    while not said.empty():
        found.append(said.get())
    return found


def lost_records(folder: Path, processes: int) -> int:
    """Acknowledged records that one new log lacks, or has twice."""
    path = folder / "log.jsonl"
    said = trial(append_some, path, processes)
    kept = [(record["worker"], record["number"]) for record in RecordLog.read(path, "trial", 1).records]
    return len(set(said) - set(kept)) + len(kept) - len(set(kept)) + (len(said) != 3 * processes)


def damaged_devices(folder: Path, processes: int) -> int:
    """1 if the file is not what the one process that succeeded wrote."""
    said = trial(add_one, folder / "devices.toml", processes)
    text = (folder / "devices.toml").read_text()
    whole = len(said) == 1 and text.count("[") == 1 and find_device("toy", folder).threads == said[0] + 1
    return int(not whole)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--trials", type=int, default=40)
    asked.add_argument("--processes", type=int, default=6)
    options = asked.parse_args()
    for name, faults in (("log: records lost", lost_records), ("devices: files damaged", damaged_devices)):
        started, total, trials_with = time.monotonic(), 0, 0
        for _ in range(options.trials):
            with tempfile.TemporaryDirectory() as folder:
                found = faults(Path(folder), options.processes)
            total, trials_with = total + found, trials_with + bool(found)
        print(
            f"{name}: {total} in {trials_with} of {options.trials} trials, {options.processes} processes each, "
            f"{time.monotonic() - started:.1f} s"
        )


if __name__ == "__main__":
    main()
