"""The supernet that comes with hwnas: small, trained by a command that is told, and used where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hwnas.pricing import evenly_spread
from hwnas.search.subnets import EVALUATED_SUBNETS
from hwnas.spaces import open_space
from hwnas.training.plan import TrainPlan
from hwnas.training.weights import load_supernet, read_tensors, shipped_evaluations, shipped_supernet, unusable
from lut.storage import RecordLog

SPACE = open_space("digits")


@pytest.fixture(scope="module")
def shipped() -> Path:
    path = shipped_supernet(SPACE, "digit-pairs")
    assert path is not None
    return path


def hwnas(folder: Path, *arguments: str) -> tuple[dict, str]:
    environment = {**os.environ, "HWNAS_WORKSPACE": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
    command = [sys.executable, "-m", "hwnas", *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_it_is_small_in_16_bits_and_says_how_it_was_trained(shipped):
    tensors, header = read_tensors(shipped)
    assert shipped.stat().st_size <= 5_000_000
    statistics = {name for name in tensors if name.endswith((".mean", ".var"))}
    assert {name for name, tensor in tensors.items() if tensor.dtype == torch.float32} == statistics
    assert {tensor.dtype for name, tensor in tensors.items() if name not in statistics} == {torch.float16}
    assert not unusable(tensors)
    assert header["data"] == "digit-pairs" and TrainPlan(**header["plan"]).steps >= 6000
    readme = shipped.with_name("README.md").read_text()
    assert (
        f"--recipe {header['plan']['recipe']} --steps {header['plan']['steps']} --seed {header['plan']['seed']}"
        in readme
    )
    assert all(parameter.dtype == torch.float32 for parameter in load_supernet(shipped).net.parameters())


def test_what_a_search_judges_first_is_judged_already(shipped):
    log = RecordLog.read(shipped_evaluations(shipped), "hwnas-evaluations", 2)
    assert log.header["supernet"] == load_supernet(shipped).sha256
    wanted = evenly_spread(SPACE, EVALUATED_SUBNETS, np.random.default_rng(0))
    assert {record["arch"] for record in log.records} >= {str(SPACE.arch(row)) for row in wanted}


def test_it_is_for_the_sizes_of_images_and_the_data_that_it_was_trained_for():
    assert shipped_supernet(open_space("digits", resolutions=(32, 40)), "digit-pairs") is None
    assert shipped_supernet(SPACE, "imagefolder:/somewhere") is None
    assert shipped_supernet(open_space("digits@0.5"), "digit-pairs") is None


@pytest.mark.slow
def test_a_search_right_after_installation_needs_no_training(tmp_path, shipped):
    hwnas(tmp_path, "profile", "--runtime", "fake")
    (found,), said = hwnas(tmp_path, "search", "--latency", "3ms", "--runtime", "fake", "--no-auto")
    assert "comes with hwnas" in said and found["accuracy"] > 0.93
    judged, _ = hwnas(tmp_path, "evaluate", "--arch", found["arch"])
    assert found["arch"] in json.dumps(judged)
    logs = list((tmp_path / "supernets" / "digits-digit-pairs").glob("evaluations-*.jsonl"))
    assert len(logs) == 1 and logs[0].read_bytes().startswith(shipped_evaluations(shipped).read_bytes())


def test_accuracies_that_come_along_are_what_comes_out(tmp_path, shipped):
    """On another processor last bits differ, and with them an image or two of 1500."""
    told = RecordLog.read(shipped_evaluations(shipped), "hwnas-evaluations", 2).records[0]
    script = """
import sys
from pathlib import Path
from hwnas.training.evaluate import SubnetEvaluator
from hwnas.training.weights import load_supernet
trained = load_supernet(Path(sys.argv[1]))
evaluator = SubnetEvaluator(trained, trained.dataset(""), Path(sys.argv[2]))
print(evaluator.validation(trained.net.space.parse(sys.argv[3])).top1)
"""
    command = [sys.executable, "-c", script, str(shipped), str(tmp_path / "log"), told["arch"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert abs(int(done.stdout) - told["top1"]) <= 3
