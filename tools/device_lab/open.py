"""Run a command beside an emulated arm64 phone (over adb) and board (over ssh), which exist for as long as it runs.

    HWNAS_DEVICE_LAB=FOLDER python -m tools.device_lab.open hwnas profile --device phone,board,host

FOLDER is what `tools/device_lab/build.sh FOLDER` has filled; both need root. The command finds the two devices in the
`devices.toml` of a home of its own. They are timed by their processes' CPU time, since emulation repeats nothing else.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

from profilers.configuration import add_device
from profilers.device import Device
from profilers.runners.bundle import runner_bundle
from tests.devices.lab import Board, Network, Phone, missing


def main() -> int:
    """Start both, run the command, end both; returns the command's exit code."""
    if reason := missing("arm64", adb=True) or missing("arm64"):
        sys.exit(f"the device lab cannot be opened: {reason}")
    runner_bundle("aarch64")  # before the network is one that has no package index
    caches = {"XDG_CACHE_HOME": platformdirs.user_cache_dir()}
    with (
        tempfile.TemporaryDirectory() as folder,
        Network(Path(folder)) as network,
        Phone(network, "arm64"),
        Board(network, "arm64"),
    ):
        settings = network.home / ".config" / "hwnas" / "devices.toml"
        for name, connect in (("phone", f"adb://{Phone.serial}"), ("board", Board.address)):
            add_device(Device(name=name, connect=connect, clock="cpu"), settings)
        with network.enter():
            return subprocess.run(sys.argv[1:], env=os.environ | network.env | caches, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
