"""From a budget to a net that a board has measured itself."""

import json
from pathlib import Path

import pytest

from hwnas import specialize
from hwnas.cli import main
from hwnas.search import subnets
from hwnas.training import evaluate
from profilers.measurement import PLANS, Plan

from .lab import Board
from .namespaces import wait_until

DEVICE = "[board]\nconnect = '{}'\n"


@pytest.fixture
def little_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, few subnets, wide intervals: all that is done is done, on less."""
    for name in ("CALIBRATION_BATCHES", "VALIDATION_BATCHES", "TEST_BATCHES"):
        monkeypatch.setattr(evaluate, name, 1)
    monkeypatch.setattr(evaluate, "BATCH", 16)
    monkeypatch.setattr(subnets, "EVALUATED_SUBNETS", 24)
    monkeypatch.setattr(subnets, "FINALISTS", 2)
    monkeypatch.setattr(specialize, "FINAL_PLAN", Plan(target_pct=5.0, max_rounds=60, time_limit_s=5.0))
    monkeypatch.setitem(PLANS, "default", Plan(target_pct=10.0, max_rounds=20, time_limit_s=5.0))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.ssh
@pytest.mark.usefixtures("little_work")
def test_a_board_measures_the_net_that_is_specialised_for_it(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "devices.toml").write_text(DEVICE.format(board.address))
    folder = ["--space", "digits@0.25", "--workspace", str(workspace), "--json"]
    assert main(["train", "--steps", "2", "--batch", "8", *folder]) == 0
    capsys.readouterr()
    code = main(["specialize", "--device", "board", "--latency", "20ms", *folder])
    out, err = capsys.readouterr()
    assert code == 0, err
    (found,) = json.loads(out)
    facts = json.loads((Path(found["bundle"]) / "bundle.json").read_text())
    assert (facts["device"], facts["fingerprint"]["runner"]) == ("board", "native")
    assert facts["fingerprint"]["machine"].endswith("x86_64") and facts["fingerprint"]["runtime"] == "onnxruntime"
    low, high = facts["interval_ms"]
    assert 0.01 < low <= facts["measured_ms"] <= high <= 20
    wait_until(lambda: not board.processes(), f"{board.processes()} still run", 5)
    assert {path.name.split("-")[0] for path in (board.home / ".cache/hwnas").iterdir()} == {"runner"}
