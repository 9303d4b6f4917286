"""A training tells what it does: a line a step, once, however often it is broken; and how its subnets do by now."""

import csv
import sys

import pytest
import torch

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.loop import train
from hwnas.training.metrics import Journal, Metrics
from hwnas.training.noise import Noise
from hwnas.training.plan import TrainPlan
from hwnas.training.probe import Probe
from profilers.errors import InvalidInputError

SPACE = open_space("digits@0.1", resolutions=(16,), classes=5)
DATA = Noise((1, 16, 16), tuple("abcde"))
PLAN = TrainPlan(steps=6, batch=4, lr=0.05)
TIMES = ("images/s", "seconds")


class BrokenError(Exception):
    """Stands for a power cut."""


def run(folder, every_s=0.0, **options):
    net = Supernet(SPACE)
    train(net, DATA, PLAN, folder / "c", every_s=every_s, journal=Journal(folder / "m.csv"), **options)
    return net


def breaking(at):
    def report(task, fraction, note):
        if note.startswith(f"step {at} "):
            raise BrokenError

    return report


def rows(folder):
    with (folder / "m.csv").open(newline="") as file:
        return [{name: row[name] for name in row if name not in TIMES} for row in csv.DictReader(file)]


def test_a_line_a_step_says_rate_losses_speed_and_time(tmp_path):
    run(tmp_path)
    with (tmp_path / "m.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [int(row["step"]) for row in found] == [1, 2, 3, 4, 5, 6]
    assert list(found[0]) == ["step", "lr", "loss largest", "loss smallest", "loss random", *TIMES]
    assert float(found[0]["lr"]) == pytest.approx(PLAN.lr) and float(found[-1]["lr"]) < PLAN.lr / 4
    times = [float(row["seconds"]) for row in found]
    assert times == sorted(times) and float(found[0]["images/s"]) > 0


@pytest.mark.parametrize("every_s", [0.0, 1e9])
def test_a_run_broken_again_and_again_has_the_lines_of_an_unbroken_one(tmp_path, every_s):
    (tmp_path / "unbroken").mkdir()
    run(tmp_path / "unbroken")
    for at in (2, 3, 6):
        with pytest.raises(BrokenError):
            run(tmp_path, every_s, report=breaking(at))
    run(tmp_path, every_s)
    assert rows(tmp_path) == rows(tmp_path / "unbroken")
    run(tmp_path, every_s)
    assert rows(tmp_path) == rows(tmp_path / "unbroken")


def test_a_line_that_a_crash_cut_off_is_dropped_with_all_behind_the_checkpoint(tmp_path):
    log = Metrics(tmp_path / "m.csv", 0)
    for step in range(1, 6):
        log.add(step, {"loss": step / 3})
    content = (tmp_path / "m.csv").read_text()
    (tmp_path / "m.csv").write_text(content[:-6])
    Metrics(tmp_path / "m.csv", 3).add(4, {"loss": 0.0})
    assert rows(tmp_path) == [
        *({"step": str(n), "loss": f"{n / 3:.10g}"} for n in (1, 2, 3)),
        {"step": "4", "loss": "0"},
    ]


def test_a_figure_that_comes_later_becomes_a_column(tmp_path):
    log = Metrics(tmp_path / "m.csv", 0)
    for step, figures in ((1, {"a": 1.0}), (2, {"a": 2.0, "b": 3.0}), (3, {"a": 4.0})):
        log.add(step, figures)
    expected = [{"step": "1", "a": "1", "b": ""}, {"step": "2", "a": "2", "b": "3"}, {"step": "3", "a": "4", "b": ""}]
    assert rows(tmp_path) == expected


def test_a_file_of_something_else_is_replaced(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\nnothing,of\nours,\n")
    Metrics(tmp_path / "m.csv", 3).add(4, {"loss": 1.0})
    assert rows(tmp_path) == [{"step": "4", "loss": "1"}]


def test_without_tensorboard_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    journal = Journal(tensorboard=tmp_path / "t")
    with pytest.raises(InvalidInputError, match=r"pip install 'hwnas\[tensorboard\]'"), journal.open(0):
        pass


@pytest.mark.filterwarnings("ignore")  # TensorBoard's and what it imports
def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first, after in ((0, 4), (2, 6)):
        journal = Journal(tensorboard=tmp_path / "t")
        with journal.open(first):
            for step in range(first + 1, after + 1):
                journal.note(step, {"loss largest": float(10 * first + step)})
    seen = accumulator.EventAccumulator(str(tmp_path / "t")).Reload().Scalars("loss/largest")
    assert [(event.step, event.value) for event in seen] == [(1, 1), (2, 2), (3, 23), (4, 24), (5, 25), (6, 26)]


def test_now_and_then_the_subnets_are_looked_at_and_training_goes_on_as_without(tmp_path):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    notes = []
    probe = Probe(SPACE, DATA, torch.device("cpu"), pause_s=0.0)
    looked_at = run(tmp_path / "with", probe=probe, report=lambda *told: notes.append(told[-1]))
    plain = run(tmp_path / "without")
    assert all(
        torch.equal(a, b) for a, b in zip(looked_at.state_dict().values(), plain.state_dict().values(), strict=True)
    )
    columns = [f"accuracy {name}" for name in ("smallest", "middle", "largest")]
    seen = [[row[column] for column in columns] for row in rows(tmp_path / "with")]
    assert all(0 <= float(share) <= 1 for row in seen[:-1] for share in row)
    assert seen[-1] == ["", "", ""]  # the end is judged by whoever asked for the training
    assert all("smallest" in note.partition("accuracy")[2] for note in notes)


def test_looks_are_at_most_ten_and_keep_their_distance():
    probe = Probe(SPACE, DATA, torch.device("cpu"), pause_s=0.0)
    assert sum(probe.due(step / 1000, (step + 1) / 1000) for step in range(1000)) == 9
    assert not Probe(SPACE, DATA, torch.device("cpu"), pause_s=60.0).due(0.05, 0.95)
