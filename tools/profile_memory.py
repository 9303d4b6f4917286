"""Most memory that `hwnas profile` takes for a space of thousands of blocks.

    python tools/profile_memory.py

Runs `hwnas profile --quick` for 25 resolutions of ofa-mbv3 in a process of its own, and prints that process's peak.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile


def main() -> None:
    """Profile, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="ofa-mbv3")
    parser.add_argument("--resolution", type=int, nargs="*", default=list(range(128, 225, 4)))
    parser.add_argument("--runtime", default="onnxruntime")
    asked = parser.parse_args()
    sizes = ",".join(map(str, asked.resolution))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hwnas", "profile", "--space", asked.space, "--resolution", sizes, "--quick"]
        command += ["--runtime", asked.runtime, "--workspace", folder, "--json"]
        (facts,) = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{facts['blocks']} blocks in {facts['seconds']:.0f} s, at most {peak_kib / 2**20:.2f} GiB of memory")


if __name__ == "__main__":
    main()
