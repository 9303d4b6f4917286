"""A training run ends with the same weights however often it is broken, and never goes on from what is not its own."""

import json
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training import loop
from hwnas.training.loop import train
from hwnas.training.plan import TrainPlan, learning_rate
from hwnas.training.weights import read_tensors
from profilers.errors import InvalidInputError, UnknownNameError

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
OTHER = open_space("digits@0.2", resolutions=(8,), classes=5)
PLAN = TrainPlan(steps=6, batch=4, lr=0.1, warmup=1 / 3)


class BrokenError(Exception):
    """Stands for a power cut."""


@dataclass
class Blobs:
    """Random images of five classes; breaks when training asks for a certain batch."""

    name: str = "blobs"
    classes: tuple[str, ...] = ("a", "b", "c", "d", "e")
    scaling: str = "as it is"
    shape: tuple[int, int, int] = (1, 8, 8)
    breaks_at: int | None = None

    def batch(self, split, index, size):
        if (split, index) == ("train", self.breaks_at):
            raise BrokenError
        rng = np.random.default_rng([len(split), index, size])
        return rng.standard_normal((size, *self.shape), np.float32), rng.integers(0, 5, size)


def run(checkpoint, plan=PLAN, data=None, **options):
    net = Supernet(SPACE, plan.seed)
    train(net, data or Blobs(), plan, checkpoint, **({"every_s": 0.0} | options))
    return net


def step_of(checkpoint):
    return read_tensors(checkpoint)[1]["step"] if checkpoint.exists() else 0


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return run(tmp_path_factory.mktemp("unbroken") / "c").state_dict()


def equal(net, expected):
    found = net.state_dict()
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


def breaking_report(at):
    def report(task, fraction, note):
        if round(fraction * PLAN.steps) == at:
            raise BrokenError

    return report


@pytest.mark.parametrize("at", range(1, PLAN.steps + 1))
def test_a_run_broken_before_a_checkpoint_ends_like_an_unbroken_one(tmp_path, unbroken, at):
    with pytest.raises(BrokenError):
        run(tmp_path / "c", report=breaking_report(at))
    assert step_of(tmp_path / "c") == at - 1
    assert equal(run(tmp_path / "c"), unbroken)


@pytest.mark.parametrize("at", range(PLAN.steps))
def test_a_run_broken_behind_a_checkpoint_ends_like_an_unbroken_one(tmp_path, unbroken, at):
    with pytest.raises(BrokenError):
        run(tmp_path / "c", data=Blobs(breaks_at=at))
    assert step_of(tmp_path / "c") == at
    assert equal(run(tmp_path / "c"), unbroken)


def test_a_run_broken_at_every_single_step_ends_like_an_unbroken_one(tmp_path, unbroken):
    for at in range(1, PLAN.steps):
        with pytest.raises(BrokenError):
            run(tmp_path / "c", data=Blobs(breaks_at=at))
    assert equal(run(tmp_path / "c"), unbroken)


def test_a_run_broken_before_its_first_checkpoint_begins_anew(tmp_path, unbroken):
    with pytest.raises(BrokenError):
        run(tmp_path / "c", data=Blobs(breaks_at=4), every_s=1e9)
    assert not (tmp_path / "c").exists()
    assert equal(run(tmp_path / "c", every_s=1e9), unbroken)


def test_a_finished_run_called_again_trains_no_further(tmp_path, unbroken):
    run(tmp_path / "c")
    assert equal(run(tmp_path / "c", data=Blobs(breaks_at=0), report=breaking_report(PLAN.steps)), unbroken)


def test_what_decides_the_weights_is_the_plan(tmp_path, unbroken):
    for number, change in enumerate(({"seed": 1}, {"lr": 0.2}, {"batch": 5}, {"momentum": 0.5}, {"warmup": 0.0})):
        assert not equal(run(tmp_path / str(number), replace(PLAN, **change)), unbroken)


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 0.2}, {"steps": 7}, {"batch": 5}])
def test_a_checkpoint_of_another_plan_is_refused_and_kept(tmp_path, change):
    run(tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(InvalidInputError, match=r"another training run .*lr 0\.1.* --restart"):
        run(tmp_path / "c", replace(PLAN, **change))
    assert (tmp_path / "c").read_bytes() == before


def test_a_checkpoint_of_another_space_or_data_set_is_refused(tmp_path):
    run(tmp_path / "c")
    with pytest.raises(InvalidInputError, match=r"another training run .*blobs"):
        run(tmp_path / "c", data=Blobs(name="others"))
    with pytest.raises(InvalidInputError, match=r"another training run .*digits@0\.1"):
        train(Supernet(OTHER), Blobs(), PLAN, tmp_path / "c")


def rewritten(content, header=None, drop=None):
    """A safetensors file of ours with another header, or without tensors whose names contain `drop`."""
    tensors = {name: tensor for name, tensor in load(content).items() if drop is None or drop not in name}
    return save(tensors, {"hwnas": json.dumps(header)} if header is not None else None)


def damaged(content, header):
    """Files that are no checkpoint of this run, by what is wrong with them."""
    return {
        "empty": b"",
        "noise": bytes(range(256)) * 40,
        "cut in the header": content[:50],
        "cut in the middle": content[: len(content) // 2],
        "cut in the weights": content[:-1],
        "foreign": rewritten(content),
        "a list for a header": rewritten(content, [1]),
        "tensors missing": rewritten(content, header, drop="classifier"),
        "tensors of no net": save(load(content) | {"x": torch.ones(1)}, {"hwnas": json.dumps(header)}),
    }


def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path):
    path = tmp_path / "c"
    run(path)
    for what, content in damaged(path.read_bytes(), read_tensors(path)[1]).items():
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=str(path)):
            run(path)
        assert path.read_bytes() == content, what


def test_a_checkpoint_that_does_not_say_its_step_is_refused(tmp_path):
    run(tmp_path / "c")
    header = read_tensors(tmp_path / "c")[1]
    del header["step"]
    (tmp_path / "c").write_bytes(rewritten((tmp_path / "c").read_bytes(), header))
    with pytest.raises(InvalidInputError, match="damaged"):
        run(tmp_path / "c")


@pytest.mark.parametrize(
    "change",
    [
        {"progress": float("inf")}, {"progress": float("nan")}, {"progress": -0.5}, {"progress": 1.0},
        {"progress": "1"}, {"step": -1}, {"step": 2.5}, {"step": 10**400}, {"step": True}, {"averaged": -1},
        {"seconds": float("inf")},
        {"seconds": -1.0}, {"scaler": []}, {"scaler": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_with_progress_that_no_run_has_is_refused(tmp_path, change):
    with pytest.raises(BrokenError):
        run(tmp_path / "c", data=Blobs(breaks_at=4))
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(rewritten(content, read_tensors(tmp_path / "c")[1] | change))
    with pytest.raises(InvalidInputError, match=str(tmp_path / "c")):
        run(tmp_path / "c")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("group", ["net", "average", "optimizer"])
@pytest.mark.parametrize("kind", ["nan", "shape", "dtype"])
def test_a_checkpoint_with_tensors_that_no_run_has_is_refused(tmp_path, optimizer, group, kind):
    plan = replace(PLAN, optimizer=optimizer, ema=0.9)
    with pytest.raises(BrokenError):
        run(tmp_path / "c", plan, data=Blobs(breaks_at=4))
    tensors, header = read_tensors(tmp_path / "c")
    name = next(name for name, tensor in tensors.items() if name.startswith(group) and tensor.ndim == 4)
    changes = {"nan": lambda t: t * float("nan"), "shape": lambda t: t[..., :1, :1, :], "dtype": lambda t: t.long()}
    tensors[name] = changes[kind](tensors[name]).contiguous()
    (tmp_path / "c").write_bytes(save(tensors, {"hwnas": json.dumps(header)}))
    with pytest.raises(InvalidInputError, match="damaged"):
        run(tmp_path / "c", plan)


class Diverging:
    """A recipe whose loss or gradients are no numbers from its fourth call on."""

    def __init__(self, loss, gradient):
        self.calls, self.loss, self.gradient = 0, loss, gradient

    def backward(self, net, *_):
        self.calls += 1
        bad = self.calls > 3
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, self.gradient if bad else 0.01)
        return {"only": self.loss if bad else 1.0}


@pytest.mark.parametrize(("loss", "gradient"), [(float("nan"), 0.01), (float("inf"), 0.01), (1.0, float("inf"))])
def test_a_diverged_run_stops_and_keeps_the_weights_from_before(tmp_path, monkeypatch, loss, gradient):
    monkeypatch.setattr(loop, "open_recipe", lambda _: Diverging(loss, gradient))
    with pytest.raises(InvalidInputError, match=r"diverged at step 4 .*--restart and a lower --lr than 0\.1"):
        run(tmp_path / "c")
    tensors, header = read_tensors(tmp_path / "c")
    assert header["step"] == 3 and all(tensor.isfinite().all() for tensor in tensors.values())


def test_an_absurd_learning_rate_is_answered_and_leaves_no_weights_that_are_no_numbers(tmp_path):
    with pytest.raises(InvalidInputError, match="a lower --lr"):
        run(tmp_path / "c", replace(PLAN, lr=1e30, steps=40, warmup=0.0))
    if (tmp_path / "c").exists():
        assert all(tensor.isfinite().all() for tensor in read_tensors(tmp_path / "c")[0].values())


def test_an_unknown_recipe_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownNameError, match="sandwich"):
        run(tmp_path / "c", replace(PLAN, recipe="toast"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("steps", "warmup"), [(100, 10), (100, 0), (7, 3), (3, 2), (1, 0)])
def test_the_learning_rate_rises_in_a_line_and_falls_to_nothing(steps, warmup):
    plan = TrainPlan(steps=steps, warmup=warmup / steps, lr=0.7)
    rates = [learning_rate(plan, step / steps, (step + 1) / steps) for step in range(steps)]
    rising, falling = rates[:warmup], rates[warmup:]
    assert rising == pytest.approx([0.7 * (step + 1) / warmup for step in range(len(rising))])
    assert all(0 < rate <= 0.7 for rate in rates)
    assert all(a > b for a, b in pairwise(falling))
    assert falling[0] == pytest.approx(0.7)
    assert learning_rate(plan, 1.0, 1.0) == pytest.approx(0, abs=1e-12)
    if len(falling) % 2 == 0:
        assert falling[len(falling) // 2] == pytest.approx(0.35)


def test_training_leaves_the_net_in_the_mode_it_was_in(tmp_path):
    net = Supernet(SPACE).eval()
    train(net, Blobs(), PLAN, tmp_path / "c")
    assert not net.training
