"""Scenes: the command profiles a device that breaks, and what is left must be whole: the table here, nothing there."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwnas.cli import main, steps
from hwnas.workflows import project
from lut.table import LatencyTable
from profilers import patience
from profilers.measurement import PLANS, Plan
from profilers.patience import PatientShell
from profilers.runners import started

from ..kit import TINY, Outcome
from .lab import Board, Phone
from .namespaces import wait_until

ROUNDS = 15  # at least
# Never precise: a fast machine, too, measures for long enough to be disturbed, and a slow one for no longer than that.
PLAN = Plan(target_pct=1e-9, min_samples=ROUNDS, max_rounds=8 * ROUNDS, time_limit_s=2.0)
LOOK_S = 0.5  # between two looks at an answer
BRIEFLY = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from tests.devices.scenes import briefly
sys.exit(briefly(sys.argv[1:]))
"""


@dataclass
class Scene:
    """A device called `name` in a workspace, and the command that profiles it."""

    device: Phone | Board
    name: str
    folder: Path  # ours on the device, from outside
    workspace: Path
    capsys: pytest.CaptureFixture[str]

    def hwnas(self, *arguments: str | Path) -> Outcome:
        """Run a command in this process."""
        self.capsys.readouterr()
        code = main([*map(str, arguments), "--workspace", str(self.workspace)])
        return Outcome(code, *self.capsys.readouterr())

    def profile(self, devices: str = "", *options: str) -> Outcome:
        """Profile the device, or others, with PLAN."""
        return self.hwnas("profile", "--device", devices or self.name, "--quick", "--json", *options)

    def start_profile(self) -> "subprocess.Popen[str]":
        """The same in a process of its own."""
        options = ["--device", self.name, "--quick", "--json", "--workspace", str(self.workspace)]
        command = [sys.executable, "-c", BRIEFLY, str(Path(__file__).parents[2]), "profile", *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def table(self) -> LatencyTable:
        """The device's table, read anew."""
        return LatencyTable.read(self.table_path)

    @property
    def table_path(self) -> Path:
        return self.workspace / "tables" / f"{self.name}-onnxruntime-fp32-t1-b1.jsonl"

    def rounds(self) -> int:
        """How many rounds the table holds, of which some may be of a few models."""
        return self.table_path.read_bytes().count(b'{"round"') if self.table_path.exists() else 0

    @contextmanager
    def in_mid_run(self, *actions: Callable[[], object]) -> Iterator[None]:
        """As soon as rounds come in, do these things; in the end all that the table held then must still be there."""
        known, kept, failures = self.rounds(), list[bytes](), list[BaseException]()

        def act() -> None:
            try:
                wait_until(lambda: self.rounds() > known and bool(self.device.processes()), "no round came", 30)
                content = self.table_path.read_bytes()
                kept.append(content[: content.rfind(b"\n") + 1])
                for action in actions:
                    action()
            except BaseException as error:
                failures.append(error)

        actor = threading.Thread(target=act)
        actor.start()
        try:
            yield
        finally:
            actor.join()
        assert not failures, failures
        assert self.table_path.read_bytes().startswith(kept[0])

    def assert_nothing_left(self) -> None:
        """Nothing runs on the device any more, and of our files only settled runners are there."""
        wait_until(lambda: not self.device.processes(), f"{self.device.processes()} still run", 5)
        found = [path.name for path in self.folder.iterdir()] if self.folder.exists() else []
        assert all(name.startswith(("runner-", "python-")) for name in found), found

    def assert_whole(self, outcome: Outcome) -> None:
        """The command succeeded: every model has its visits, none of them twice, and nothing is left behind."""
        assert outcome.code == 0, outcome
        table = self.table
        assert len(table.visits) == outcome.only["models"] > 20
        assert all(len(visits) >= ROUNDS for visits in table.visits.values())
        assert all(0 < visit.ms < 1000 and 0 < visit.sentinel_ms < 1000 for v in table.visits.values() for visit in v)
        rounds = [line for line in self.table_path.read_text().splitlines() if line.startswith('{"round"')]
        assert len(set(rounds)) == len(rounds)
        self.assert_nothing_left()


def scene(device: Phone | Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    """The scene of one device, which it adds to a new workspace."""
    is_phone = isinstance(device, Phone)
    connect = f"adb://{device.serial}" if isinstance(device, Phone) else device.address
    folder = device.tmp / "hwnas" if isinstance(device, Phone) else device.home / ".cache/hwnas"
    folder.parent.mkdir(exist_ok=True)
    found = Scene(device, "phone" if is_phone else "board", folder, tmp_path / "workspace", capsys)
    found.hwnas("devices", "add", found.name, "--connect", connect, "--only-here")
    return found


@pytest.fixture
def brief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--quick` is PLAN, every space is TINY, and patience is short: 6 s for a device, 3 s for an answer of it."""
    monkeypatch.setitem(PLANS, "quick", PLAN)
    monkeypatch.setattr(started, "LOOK_S", LOOK_S)
    for room in (steps, project):
        monkeypatch.setattr(room, "open_space", lambda *_, **__: TINY)
    monkeypatch.setattr(patience, "PATIENCE_S", 6.0)
    monkeypatch.setattr(PatientShell.run, "__defaults__", (3.0,))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HWNAS_WORKSPACE", raising=False)


def briefly(arguments: Sequence[str]) -> int:
    """The command with PLAN and TINY, for a process of its own."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    PLANS["quick"] = PLAN
    started.LOOK_S = LOOK_S
    for room in (steps, project):
        room.open_space = lambda *_, **__: TINY  # type: ignore[attr-defined]
    return main(arguments)
