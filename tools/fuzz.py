"""Every reader of files and values on inputs that are nearly right: tracebacks and hangs, which there must not be.

    python tools/fuzz.py [--inputs 200] [--seed 0] [--reader NAME]

Each reader gets so many mutations of a valid sample, in a child process of limited memory and time. An input is
refused if the reader raises an error that a user can act on, in one bounded line; accepted if the reader returns.
"""

import argparse
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fuzzing.mutations import mutated
from fuzzing.readers import Reader, readers

from profilers.errors import HwnasError

SECONDS, MEMORY_BYTES, LINE_CHARS = 20, 2 << 30, 4000
OUTCOMES = ("refused", "accepted", "traceback", "hang")


def outcome(reader: Reader, path: Path) -> tuple[str, str]:
    """What a reader does with a file, and what it says."""
    try:
        reader.read(path)
    except HwnasError as error:
        line = str(error)
        if len(line) > LINE_CHARS + line.count(str(path)) * len(str(path)) or len(line.splitlines()) != 1:
            return "traceback", f"no bounded line but {len(line)} characters: {line[:300]!r}"
        return "refused", line
    except Exception:
        return "traceback", traceback.format_exc()
    return "accepted", ""


def outcome_of_sample(reader: Reader) -> str:
    """`accepted`, or what the reader has against its sample."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / reader.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(reader.sample)
        kind, said = outcome(reader, path)
    return said or kind


def limit_memory() -> None:
    """Let this process take so much more than it has."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run_some(reader: Reader, numbers: list[int], seed: int, folder: Path, pipe: Any) -> None:
    """In a child: the outcome of each input through the pipe; a hang ends the process."""
    warnings.simplefilter("ignore")
    if sys.platform == "linux":
        limit_memory()
    for number in numbers:
        path = folder / reader.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutated(reader.sample, reader.kind, random.Random(f"{seed} {reader.name} {number}")))
        signal.alarm(SECONDS)
        pipe.send((number, *outcome(reader, path)))
        signal.alarm(0)


def fuzz(reader: Reader, inputs: int, seed: int) -> list[tuple[int, str, str]]:
    """The outcome of every input: its number, what happened, and what was said."""
    if (taken := outcome_of_sample(reader)) != "accepted":
        raise RuntimeError(f"{reader.name} does not take its own sample: {taken}")
    context, found = multiprocessing.get_context("fork"), list[tuple[int, str, str]]()
    left = list(range(inputs))
    while left:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(target=run_some, args=(reader, left, seed, Path(folder), theirs))
            child.start()
            theirs.close()
            before = len(found)
            try:
                while len(found) - before < len(left):
                    found.append(ours.recv())
            except EOFError:
                number = left[len(found) - before]
                child.join()
                kind = "hang" if child.exitcode == -signal.SIGALRM else "traceback"
                found.append((number, kind, f"the process ended with {child.exitcode}"))
            child.join()
            left = left[len(found) - before :]
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--inputs", type=int, default=200, help="of each reader")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--reader", help="this one only")
    asked.add_argument("--show", type=int, default=3, help="faults of each reader that are printed whole")
    asked.add_argument("--json", action="store_true")
    options = asked.parse_args()
    total, rows, faults = Counter[str](), list[dict[str, Any]](), list[str]()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for reader in readers(Path(folder)):
            if options.reader not in (None, reader.name):
                continue
            found = fuzz(reader, options.inputs, options.seed)
            counts = Counter(kind for _, kind, _ in found)
            total += counts
            rows.append({"reader": reader.name, "inputs": len(found), **{kind: counts[kind] for kind in OUTCOMES}})
            wrong = [(number, said) for number, kind, said in found if kind in ("traceback", "hang")]
            faults += [f"{reader.name}, input {number}:\n{said}" for number, said in wrong[: options.show]]
    rows.append({"reader": "all", "inputs": total.total(), **{kind: total[kind] for kind in OUTCOMES}})
    print("\n".join(faults), file=sys.stderr)
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'reader':<28}" + "".join(f"{name:>11}" for name in ("inputs", *OUTCOMES)))
    for row in rows:
        print(f"{row['reader']:<28}" + "".join(f"{row[name]:>11}" for name in ("inputs", *OUTCOMES)))
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
