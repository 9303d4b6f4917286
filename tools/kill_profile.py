"""Kill `hwnas profile` with signal 9 at random moments; after each, is the table readable, and was anything lost?

    python tools/kill_profile.py --kills 20

The same command is started again and again in one workspace and killed after a random time, until it has been killed as
often as asked; then it runs to its end. A round that a killed run had finished must never be missing afterwards.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lut.table import LatencyTable


def main() -> None:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--space", default="digits")
    parser.add_argument("--longest", type=float, default=4.0, help="seconds after which a run is killed at the latest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rng, rows = np.random.default_rng(asked.seed), []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hwnas", "profile", "--space", asked.space, "--careful", "--json"]
        path = Path(folder) / "tables" / "host-onnxruntime-fp32-t1-b1.jsonl"
        before = b""
        for _ in range(asked.kills):
            after_s = float(rng.uniform(0.5, asked.longest))
            run = subprocess.Popen(
                [*command, "--workspace", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(after_s)
            run.kill()
            run.wait()
            now = path.read_bytes() if path.exists() else b""
            torn = len(now) - (now.rfind(b"\n") + 1)
            kept = now.startswith(before[: before.rfind(b"\n") + 1])
            rounds = now.count(b'{"round":')
            read = {} if not now else LatencyTable.read(path).visits
            rows.append(
                {"killed_after_s": after_s, "rounds": rounds, "models": len(read), "torn_bytes": torn, "kept": kept}
            )
            before = now
            print(
                f"killed after {after_s:.2f} s: readable, {rounds} rounds, {torn} bytes cut off, kept {kept}",
                file=sys.stderr,
            )
    print(
        json.dumps(rows, indent=2)
        if asked.json
        else f"{sum(row['kept'] for row in rows)} of {len(rows)} kept everything"
    )


if __name__ == "__main__":
    main()
