"""`hwnas evaluate`: one subnet with an interval, or many that a predictor learns from, killed and shared at will."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hwnas.cli.evaluating import drawn
from hwnas.spaces import open_space

from ..kit import TINY

SPACE = open_space("digits")
MANY = ["-m", "hwnas", "evaluate", "--images", "20", "--json", "--random"]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
DEADLINE_S = 120

slow = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")]


def log_of(workspace):
    (path,) = (workspace / "supernets" / "digits-digit-pairs").glob("evaluations-*.jsonl")
    return path


def judged(workspace):
    """The architectures in the log, as often as they are there."""
    return [json.loads(line)["arch"] for line in log_of(workspace).read_text().splitlines()[1:]]


def test_the_first_archs_drawn_are_the_same_however_many_are_wanted():
    few, many = drawn(SPACE, 10, 0), drawn(SPACE, 400, 0)
    assert many[:10] == few and len(set(many)) == 400
    assert drawn(SPACE, 10, 1) != few


def test_of_a_space_with_few_archs_all_are_drawn():
    rows = np.array(list(product(*map(range, TINY.sizes))))
    expected = {TINY.arch(row) for row in TINY.canonical(rows)}
    assert set(drawn(TINY, 10_000_000, 0)) == expected


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_subnet_is_judged_with_an_interval(hwnas, workspace, split):
    facts = hwnas("evaluate", "--arch", str(SPACE.smallest), "--split", split, "--workspace", workspace, "--json").json
    assert facts["arch"] == str(SPACE.smallest) and (facts["split"], facts["images"]) == (split, 16)
    for figure, interval in (("accuracy", "interval"), ("top5_accuracy", "top5_interval")):
        assert 0 <= facts[interval][0] <= facts[figure] <= facts[interval][1] <= 1
    assert facts["accuracy"] <= facts["top5_accuracy"]
    shown = hwnas("evaluate", "--arch", str(SPACE.smallest), "--split", split, "--workspace", workspace).out
    assert f"{100 * facts['accuracy']:.1f} %" in shown and "95 % interval" in shown and "top-5" in shown


def test_random_subnets_are_judged_once_and_more_of_them_go_on(hwnas, workspace):
    before = len(judged(workspace))
    few = hwnas("evaluate", "--random", "3", "--workspace", workspace, "--json").json
    more = hwnas("evaluate", "--random", "5", "--workspace", workspace, "--json").json
    assert (few["subnets"], more["subnets"], more["evaluated_before"]) == (3, 5, 3)
    new = judged(workspace)[before:]
    assert len(new) == len(set(new)) == 5
    assert more["accuracy"]["least"] <= more["accuracy"]["median"] <= more["accuracy"]["most"]
    assert more["best"] in judged(workspace)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], "either --arch or --random"),
        (["--arch", "digits:1", "--random", "2"], "either --arch or --random"),
        (["--random", "2", "--split", "test"], "test images decide nothing"),
        (["--arch", "digits:1", "--split", "train"], "validation or test"),
    ],
)
def test_options_that_contradict_each_other_are_refused(hwnas, workspace, options, wanted):
    found = hwnas("evaluate", *options, "--workspace", workspace)
    assert found.code == 2 and wanted in " ".join(found.err.replace("│", " ").split())


@pytest.mark.usefixtures("nothing_shipped")
def test_an_arch_that_is_none_and_a_supernet_that_is_not_there_are_answered_with_one_line(hwnas, workspace, tmp_path):
    found = hwnas("evaluate", "--arch", "digits:1-2", "--workspace", workspace)
    assert found.code == 3 and found.err.startswith("hwnas: digits:1-2 ") and found.err.count("\n") == 1
    found = hwnas("evaluate", "--arch", str(SPACE.smallest), "--workspace", tmp_path / "nowhere")
    assert found.code == 3 and "hwnas train" in found.err and found.err.count("\n") == 1


class TestProcesses:
    pytestmark = slow

    def test_killed_with_its_processes_the_same_command_goes_on(self, workspace):
        before = len(judged(workspace))
        with start([*MANY, "300", "--workers", "2"], workspace) as process:
            wait_for(lambda: len(judged(workspace)) > before + 2, process)
            workers = descendants(process.pid)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=DEADLINE_S)
        kept = len(judged(workspace)) - before
        assert kept > 2 and workers
        wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), None)
        assert len(judged(workspace)) == before + kept  # nobody goes on writing
        facts = finish([*MANY, str(kept + 4), "--workers", "2"], workspace)
        assert facts["evaluated_before"] == kept
        new = judged(workspace)[before:]
        assert len(new) == len(set(new)) == kept + 4

    def test_interrupted_it_says_so_in_one_line(self, workspace):
        before = len(judged(workspace))
        with start([*MANY, "300", "--workers", "2"], workspace) as process:
            wait_for(lambda: len(judged(workspace)) > before, process)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130 and "Traceback" not in errors
        assert [line for line in errors.splitlines() if "the same command goes on" in line]

    def test_the_processes_of_torchrun_share_the_work(self, workspace):
        before = len(judged(workspace))
        facts = finish([*TWO, *MANY, "7"], workspace)
        assert facts["subnets"] == 7 and facts["evaluated_before"] == 0
        assert sorted(judged(workspace)[before:]) == sorted(str(arch) for arch in drawn(SPACE, 7, 0))


def start(command, workspace):
    environment = {**os.environ, "HWNAS_WORKSPACE": str(workspace), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *command], stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(command, workspace):
    with start(command, workspace) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return json.loads(output)  # of several processes, one alone prints a result


def wait_for(condition, process):
    deadline = time.monotonic() + DEADLINE_S
    while not condition() and (process is None or process.poll() is None) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def descendants(parent):
    """All processes that a process started, and those that they did."""
    children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return children + [grandchild for child in children for grandchild in descendants(child)]
