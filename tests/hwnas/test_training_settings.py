"""Every setting of a training does what it says, whatever breaks the run on its way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training import loop, plan, recipes
from hwnas.training.loop import train
from hwnas.training.noise import Noise
from hwnas.training.plan import Pace, TrainPlan
from hwnas.training.precision import Precision
from hwnas.training.run import Run, optimizer_of
from profilers.errors import InvalidInputError, UnknownNameError

SPACE = open_space("digits@0.1", resolutions=(16,), classes=5)
DATA = Noise((1, 16, 16), tuple("abcde"))
PLAN = TrainPlan(steps=5, batch=4, lr=0.05)
CPU = torch.device("cpu")


class BrokenError(Exception):
    """Stands for a power cut."""


class Once:
    """A recipe with a gradient of its own making: `gradient` times the mean of the images it is given."""

    def __init__(self, gradient=torch.ones_like):
        self.gradient, self.labels, self.images = gradient, [], []

    def backward(self, net, images, labels, *_):
        self.labels.append(labels)
        self.images.append(images)
        for parameter in net.parameters():
            new = images.mean() * self.gradient(parameter)
            parameter.grad = new if parameter.grad is None else parameter.grad + new
        return {"only": float(images.mean())}


def run(checkpoint, changed=PLAN, **options):
    net = Supernet(SPACE, changed.seed)
    train(net, DATA, changed, checkpoint, **({"every_s": 0.0} | options))
    return net.state_dict()


def by(monkeypatch, recipe, tmp_path, changed=PLAN, name="c"):
    monkeypatch.setattr(loop, "open_recipe", lambda _: recipe)
    return run(tmp_path / name, changed)


def breaking(at):
    def report(task, fraction, note):
        if note.startswith(f"step {at} "):
            raise BrokenError

    return report


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("recipe", recipes.names())
def test_a_broken_run_of_any_recipe_ends_like_an_unbroken_one_with_all_settings_at_once(tmp_path, recipe):
    every = replace(PLAN, recipe=recipe, optimizer="adamw", lr=0.003, ema=0.9, clip_norm=0.5, label_smoothing=0.1)
    every = replace(every, steps=7, accumulate=2)
    unbroken = run(tmp_path / "unbroken", every)
    for at in (2, 4, 6):
        with pytest.raises(BrokenError):
            run(tmp_path / "c", every, report=breaking(at))
    assert_equal(run(tmp_path / "c", every), unbroken)
    assert_equal(run(tmp_path / "c", every), unbroken)  # a finished one is not trained, nor averaged, again


def test_what_is_shipped_is_the_average_of_the_weights_if_there_is_one(tmp_path):
    seen = []

    class Watched(Noise):
        net = Supernet(SPACE)

        def batch(self, split, index, size):
            seen.append({name: tensor.clone() for name, tensor in self.net.state_dict().items()})
            return super().batch(split, index, size)

    data = Watched(DATA.shape, DATA.classes)
    train(data.net, data, replace(PLAN, ema=0.8), tmp_path / "c")
    last = run(tmp_path / "plain")
    expected = seen[0]
    for number, weights in enumerate([*seen[1:], last], 1):
        kept = min(0.8, number / (10 + number))
        expected = {name: kept * expected[name] + (1 - kept) * weights[name] for name in expected}
    for name, tensor in data.net.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_of_convolutions_decay_and_no_others(tmp_path, monkeypatch, optimizer):
    strong = replace(PLAN, optimizer=optimizer, weight_decay=0.1, lr=0.1)
    after = by(monkeypatch, Once(torch.zeros_like), tmp_path, strong)
    before = Supernet(SPACE).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.endswith(".weight")}
    assert all(after[name].norm() < before[name].norm() for name in moved)


def test_an_unknown_optimizer_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="adamw, sgd"):
        TrainPlan(optimizer="adagrad")


@pytest.mark.parametrize("setting", ["ema", "warmup", "label_smoothing"])
def test_a_share_that_is_none_is_refused(setting):
    with pytest.raises(InvalidInputError, match=setting):
        TrainPlan(**{setting: 1.0})


def test_smoothed_labels_give_the_loss_that_torch_gives(tmp_path, monkeypatch):
    recipe, logits = Once(), torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    by(monkeypatch, recipe, tmp_path, replace(PLAN, steps=1, label_smoothing=0.2))
    hard = torch.from_numpy(DATA.batch("train", 0, 4)[1])
    expected = F.cross_entropy(logits, hard, label_smoothing=0.2)
    torch.testing.assert_close(F.cross_entropy(logits, recipe.labels[0]), expected)


def test_mixup_blends_each_image_with_a_neighbour_every_step_by_another_share(tmp_path, monkeypatch):
    recipe, shares = Once(), []
    by(monkeypatch, recipe, tmp_path, replace(PLAN, mixup=0.5))
    for step, mixed in enumerate(recipe.images):
        images = torch.from_numpy(DATA.batch("train", step, 4)[0])
        apart = images - images.roll(1, 0)
        share = float(((mixed - images.roll(1, 0)) * apart).sum() / (apart**2).sum())
        torch.testing.assert_close(mixed, images * share + images.roll(1, 0) * (1 - share))
        shares.append(round(share, 6))
    assert len(set(shares)) == PLAN.steps
    assert all(labels.shape == (4, 5) for labels in recipe.labels)


def test_clipped_gradients_keep_their_direction_and_get_the_norm_asked_for():
    net = Supernet(SPACE)
    step = Run.begin(net, Once(), replace(PLAN, momentum=0.0, weight_decay=0.0), Precision.best(CPU), "noise")
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    step.update(1.0, clip_norm=2.0)
    moves = torch.cat([(before[name] - p.detach()).flatten() for name, p in net.named_parameters()])
    assert float(moves.norm()) == pytest.approx(2.0, rel=1e-4)
    assert float(moves.std()) < 1e-6


def test_a_batch_taken_in_parts_has_the_gradient_of_the_whole(tmp_path, monkeypatch):
    whole, parts = Once(), Once()
    one = by(monkeypatch, whole, tmp_path, replace(PLAN, batch=12), "whole")
    four = by(monkeypatch, parts, tmp_path, replace(PLAN, batch=12, accumulate=4), "parts")
    assert [len(images) for images in whole.images] == [12] * 5
    assert [len(images) for images in parts.images] == [3] * 20
    for name, tensor in one.items():
        torch.testing.assert_close(four[name], tensor)


def test_a_batch_that_cannot_be_cut_evenly_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInputError, match="choose another --batch"):
        run(tmp_path / "c", replace(PLAN, accumulate=3))
    assert not list(tmp_path.iterdir())


class Moving(Once):
    """A recipe that says at one step that it has moved weights, and triples the learning rate."""

    def begin(self, _, before, after):
        self.spans.append((before, after))
        return before == self.moves_at

    def lr_scale(self, _):
        return 3.0

    def __init__(self, moves_at=None):
        super().__init__()
        self.moves_at, self.spans = moves_at, []


def test_a_staged_recipe_is_asked_before_every_step_and_scales_the_learning_rate(tmp_path, monkeypatch):
    recipe, plain = Moving(), replace(PLAN, momentum=0.0, weight_decay=0.0)
    scaled = by(monkeypatch, recipe, tmp_path, plain, "scaled")
    assert recipe.spans == [(step / 5, (step + 1) / 5) for step in range(5)]
    by_hand = by(monkeypatch, Once(), tmp_path, replace(plain, lr=3 * plain.lr), "by hand")
    for name, tensor in by_hand.items():
        torch.testing.assert_close(scaled[name], tensor)


def test_where_weights_changed_places_momentum_and_averages_begin_anew(tmp_path, monkeypatch):
    long = replace(PLAN, ema=0.9)
    moved = by(monkeypatch, Moving(moves_at=4 / 5), tmp_path, long, "moved")
    stayed = by(monkeypatch, Moving(), tmp_path, long, "stayed")
    assert any(not torch.equal(moved[name], stayed[name]) for name in moved)
    tensors = Run.begin(Supernet(SPACE), Once(), long, Precision.best(CPU), "noise")
    tensors.optimizer.state[next(tensors.net.parameters())]["momentum_buffer"] = torch.ones(1)
    tensors.averaged = 7
    tensors.forget_steps()
    assert not tensors.optimizer.state and tensors.averaged == 0
    assert_equal(tensors.average, tensors.net.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_steps_go_where_32_bit_steps_go(dtype):
    images, labels = (torch.from_numpy(array) for array in DATA.batch("train", 0, 16))
    found = {}
    for kind in (torch.float32, dtype):
        net = Supernet(SPACE).train()
        of_net = Run.begin(net, recipes.open_recipe("sandwich"), PLAN, Precision.of(CPU, kind), "noise")
        with of_net.precision.scaling(net), of_net.precision.autocast():
            of_net.recipe.backward(net, images, labels, 0.0, np.random.default_rng(0))
        of_net.precision.scaler.unscale_(of_net.optimizer)
        found[kind] = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    assert F.cosine_similarity(found[torch.float32], found[dtype], dim=0) > 0.99
    assert found[dtype].norm() == pytest.approx(float(found[torch.float32].norm()), rel=0.05)


def test_an_overflow_in_fp16_skips_the_step_and_lowers_the_scale():
    net = Supernet(SPACE)
    of_net = Run.begin(net, Once(), PLAN, Precision.of(CPU, torch.float16), "noise")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    scaler = of_net.precision.scaler
    scaler.scale(torch.ones(()))  # as the gradients of a step were
    scale = scaler.get_scale()
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, float("inf"))
    of_net.update(0.1, 0.0)
    assert_equal(net.state_dict(), before)
    assert scaler.get_scale() < scale


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@given(st.lists(st.floats(0.5, 0.75), min_size=60, max_size=60), st.floats(0.0, 29.0))
def test_progress_by_time_rises_to_one_and_in_time(durations, before):
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "time", clock)
        pace, progress = Pace(TrainPlan(time_s=30.0), before), 0.0
        for steps, took in enumerate(durations):
            after = pace.after(steps, progress)
            assert progress <= after <= 1
            progress = after
            clock.now += took
            if progress == 1:
                break
        assert progress == 1
        assert pace.seconds <= 30 or steps < 2  # of a run that was broken in its last second, a step is made anew
        assert pace.seconds > 26


@pytest.mark.parametrize("slow_s", [8.0, 20.0])
def test_a_single_slow_step_does_not_end_a_run_by_time(monkeypatch, slow_s):
    clock = Clock()
    monkeypatch.setattr(plan, "time", clock)
    pace, progress = Pace(TrainPlan(time_s=30.0), 0.0), 0.0
    for steps in range(1000):
        progress = pace.after(steps, progress)
        clock.now += slow_s if steps == 3 else 0.2
        if progress == 1:
            break
    assert 29 < pace.seconds <= 30


def test_a_run_by_time_ends_with_its_schedule_and_says_how_many_steps_it_took(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(plan, "time", clock)
    monkeypatch.setattr(loop, "open_recipe", lambda _: Once())

    class Slow(Noise):
        def batch(self, split, index, size):
            clock.now += 1.0
            asked.append(index)
            return super().batch(split, index, size)

    def report(task, fraction, note):
        fractions.append(fraction)
        if len(fractions) == 7:
            raise BrokenError

    asked, fractions, data = [], [], Slow(DATA.shape, DATA.classes)
    by_time = replace(PLAN, time_s=20.0)
    with pytest.raises(BrokenError):
        train(Supernet(SPACE), data, by_time, tmp_path / "c", every_s=0.0, report=report)
    assert train(Supernet(SPACE), data, by_time, tmp_path / "c", every_s=0.0, report=report) == 18
    assert asked == [*range(7), *range(6, 18)]  # the seventh was in no checkpoint yet
    assert fractions[-1] == 1.0


def test_settings_of_optimizers_reach_torch():
    net = Supernet(SPACE)
    sgd, adamw = optimizer_of(net, PLAN), optimizer_of(net, replace(PLAN, optimizer="adamw"))
    assert isinstance(sgd, torch.optim.SGD) and sgd.defaults["nesterov"] and sgd.defaults["momentum"] == 0.9
    assert isinstance(adamw, torch.optim.AdamW) and adamw.defaults["betas"] == (0.9, 0.999)
