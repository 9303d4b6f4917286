"""Kill `hwnas profile`, `train` and `specialize` with signal 9 at random moments: is anything lost, does it go on?

    python tools/kill_anything.py --kills 30

Each command is started again and again in one workspace, and killed after a random time, until it has been killed as
often as asked; then it runs to its end. A record, a checkpoint's step, a finished supernet or a bundle that was there
before a run must be there, whole, after it was killed. `train` trains anew (`--restart`) beside a finished supernet.
Subnets are evaluated on few images, and `specialize` measures with the fake runtime, so that it takes minutes.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open

from lut.table import LatencyTable

LATE, LOOK_S = 0.8, 0.05  # the share of kills that wait for something new, and how often is looked

HWNAS = """
import sys
from hwnas.search import subnets
from hwnas.training import evaluate
evaluate.BATCH, evaluate.CALIBRATION_BATCHES, evaluate.VALIDATION_BATCHES, evaluate.TEST_BATCHES = 16, 1, 1, 1
subnets.EVALUATED_SUBNETS, subnets.FINALISTS = 24, 2
from hwnas.cli import main
sys.exit(main())
"""
SPACE = "digits@0.5"
TRAIN = ["train", "--space", SPACE, "--batch", "8", "--checkpoint-every", "0.05s"]
SUPERNET = Path("supernets") / f"{SPACE}-digit-pairs" / "supernet.safetensors"
CHECKPOINT = SUPERNET.parent / "next" / "checkpoint.safetensors"


@dataclass
class Kept:
    """What is on the disk: contents that only grow, files that are replaced whole, and how far it all is."""

    growing: dict[str, bytes] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    done: int = 0

    def lost_in(self, after: "Kept") -> list[str]:
        """What is not there any more."""
        cut = [path for path, content in self.growing.items() if not after.growing.get(path, b"").startswith(content)]
        return cut + sorted(self.whole - after.whole) + (["progress"] if after.done < self.done else [])


@dataclass(frozen=True)
class Command:
    """A command to kill, and how to look at what it leaves."""

    name: str
    arguments: list[str]
    look: Callable[[Path], Kept]
    before: tuple[list[str], ...] = ()  # what is run first, undisturbed


def lines(folder: Path, pattern: str) -> Kept:
    """Logs: whole lines stay."""
    found = {str(path): path.read_bytes() for path in sorted(folder.glob(pattern))}
    whole = {path: content[: content.rfind(b"\n") + 1] for path, content in found.items()}
    return Kept(whole, done=sum(content.count(b"\n") for content in whole.values()))


def profiled(folder: Path) -> Kept:
    """The table, which is read, too."""
    for path in folder.glob("tables/*.jsonl"):
        LatencyTable.read(path)
    return lines(folder, "tables/*.jsonl")


def trained(folder: Path) -> Kept:
    """The finished supernet, old or new, and the step of the checkpoint beside it."""
    kept, step = Kept(), 0
    with safe_open(folder / SUPERNET, "np") as file:
        seed = json.loads(file.metadata()["hwnas"])["plan"]["seed"]
        kept.whole.add("supernet")
    if (folder / CHECKPOINT).exists():
        with safe_open(folder / CHECKPOINT, "np") as file:
            step = json.loads(file.metadata()["hwnas"])["step"]
    kept.done = 1_000_000 if seed else step
    return kept


def specialised(folder: Path) -> Kept:
    """What was evaluated, and bundles, each file of which has the digest that is told."""
    kept = lines(folder, "supernets/*/evaluations-*.jsonl")
    for record in folder.glob("bundles/*/bundle.json"):
        for name, digest in json.loads(record.read_bytes())["files"].items():
            if hashlib.sha256((record.parent / name).read_bytes()).hexdigest() == digest:
                kept.whole.add(f"{record.parent.name}/{name}")
    return kept


COMMANDS = [
    Command("profile", ["profile", "--space", "digits", "--careful"], profiled),
    Command("train", [*TRAIN, "--restart", "--steps", "150", "--seed", "1"], trained, ([*TRAIN, "--steps", "2"],)),
    Command(
        "specialize",
        ["specialize", "--latency", "1.6ms,3ms", "--runtime", "fake"],
        specialised,
        (["profile", "--runtime", "fake"],),
    ),
]


def start(arguments: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Run hwnas in a workspace."""
    environment = {**os.environ, "HWNAS_WORKSPACE": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
    command = [sys.executable, "-c", HWNAS, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(arguments: list[str], folder: Path) -> None:
    """Run it to its end."""
    process = start(arguments, folder)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"hwnas {' '.join(arguments)} failed: {errors.decode()}")


def attack(
    command: Command, kills: int, rng: np.random.Generator, shortest: float, longest: float
) -> dict[str, object]:
    """Kill a command so often; what came of it."""
    lost: list[str] = []
    killed = resumed = begun_again = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in command.before:
            finish(arguments, folder)
        before = command.look(folder)
        while killed < kills:
            process = start(command.arguments, folder)
            # Most kills come once something new is on the disk, however fast the machine is; the others at any time.
            late = rng.random() < LATE
            while late and process.poll() is None and command.look(folder).done <= before.done:
                time.sleep(LOOK_S)
            time.sleep(float(rng.uniform(shortest, longest)))
            ended = process.poll() is not None
            process.kill()
            _, errors = process.communicate()
            if ended and process.returncode:
                raise SystemExit(f"hwnas {command.name} failed after a kill: {errors.decode()}")
            killed += not ended
            now = command.look(folder)
            gone = before.lost_in(now)
            lost += gone
            resumed += now.done > before.done
            print(f"{command.name}: {'ended' if ended else 'killed'}, {now.done} kept, lost {gone}", file=sys.stderr)
            before = now
            if ended:
                begun_again += 1
                if command.name == "train" and begun_again:  # it would begin anew: what is kept is the supernet alone
                    before.done = 0
        finish(command.arguments, folder)
        final = command.look(folder)
        lost += before.lost_in(final)
        left = [str(path) for path in folder.rglob(".*.tmp")]
    return {"command": command.name, "kills": killed, "got further": resumed, "lost": len(lost), "left": len(left)}


def main() -> None:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of all commands together")
    parser.add_argument("--commands", default="profile,train,specialize")
    parser.add_argument("--shortest", type=float, default=0.0, help="seconds from then on, at least")
    parser.add_argument("--longest", type=float, default=1.5, help="seconds from then on, at most")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # a torn last line is what a kill may leave
    rng, chosen = np.random.default_rng(asked.seed), asked.commands.split(",")
    rows = [
        attack(command, asked.kills // len(chosen), rng, asked.shortest, asked.longest)
        for command in COMMANDS
        if command.name in chosen
    ]
    print(json.dumps(rows, indent=2))
    if any(row["lost"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
