"""A device that is a folder of this machine, in front of the profiler of devices at the far end of a connection."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from profilers import patience, remote
from profilers.device import Device
from profilers.remote import RemoteProfiler
from profilers.runners import Site, lease, native, started

from .local_shell import LocalShell
from .native_runs import job_folder


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LocalShell]:
    """A device; whatever still runs there when the test is over is ended."""
    if not Path("/proc/self/cwd").exists():
        pytest.skip("only Linux tells what runs where, as the devices do")
    home = tmp_path / "home of the board"
    home.mkdir()
    board = LocalShell(home)
    yield board
    for pid in board.processes():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the device that follow each other at once."""
    for module, name in ((started, "LOOK_FIRST_S"), (started, "LOOK_S"), (lease, "LOOK_S"), (patience, "RETRY_S")):
        monkeypatch.setattr(module, name, 0.02)


Open = Callable[..., RemoteProfiler]


@pytest.fixture
def reached(board: LocalShell, quick: None, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a profiler of the board; `tell` and what a device is made of can be given."""
    monkeypatch.setattr(remote, "open_shell", lambda _: board)

    def reach(tell: patience.Tell = patience.silent, **settings: Any) -> RemoteProfiler:
        return RemoteProfiler(Device(**{"name": "board", "connect": "ssh://board", **settings}), tell)

    return reach


@pytest.fixture
def scripted(reached: Open, monkeypatch: pytest.MonkeyPatch) -> Open:
    """As `reached`, but with a runner that does what model files say, and tells visits that are all different.

    A model file is `takes 2` (ms), `refuse WHY`, `die SIGNAL`, `wait` or `still`, of which the clock tells nothing.
    """
    script = Path(__file__).with_name("scripted_runner.sh")

    def install(site: Site) -> started.StartedRunner:
        place = site.settle([script], "runner-of-the-tests")
        command = ("sh", f"{place}/{script.name}")
        return started.StartedRunner(site, command, site.run([*command, "--version"]).strip())

    monkeypatch.setattr(native, "install", install)
    return reached


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For a job, beside its sentinel; bundles are built once for all tests, and where the user's are not touched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    return job_folder(tmp_path)
