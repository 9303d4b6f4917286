"""Every recipe found in `hwnas.training.recipes` keeps the contract of one: a step's gradients, and nothing else."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hwnas.nets.supernet import Supernet
from hwnas.training import recipes
from hwnas.training.loop import train
from hwnas.training.noise import Noise
from hwnas.training.plan import TrainPlan
from hwnas.training.recipes import Remembering, Staged
from profilers.errors import UnknownNameError

from ..watched import LABELS, SPACE, Watched, gradients, step

each_recipe = pytest.mark.parametrize("name", recipes.names())


@each_recipe
def test_a_step_leaves_finite_gradients_and_tells_finite_losses(name):
    net = Supernet(SPACE).train()
    losses = step(net, name)
    assert losses and all(type(loss) is float and math.isfinite(loss) for loss in losses.values())
    found = gradients(net)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert {key for key, gradient in found.items() if gradient.any()} >= {"slots.classifier.layers.linear.weight"}


@each_recipe
def test_a_step_changes_no_parameter(name):
    net = Supernet(SPACE).train()
    before = {key: p.detach().clone() for key, p in net.named_parameters()}
    step(net, name)
    assert all(torch.equal(p, before[key]) for key, p in net.named_parameters())
    assert net.training


@each_recipe
def test_gradients_are_added_to_those_that_are_there(name):
    net = Supernet(SPACE).train()
    step(net, name)
    once = gradients(net)
    step(net, name)
    for key, gradient in gradients(net).items():
        torch.testing.assert_close(gradient, 2 * once[key])


@each_recipe
def test_equal_randomness_gives_equal_gradients(name):
    first, again = (Supernet(SPACE).train() for _ in range(2))
    torch.manual_seed(1)  # randomness from anywhere but `rng` would show
    np.random.seed(1)  # noqa: NPY002 - exactly the state that must not be used
    losses = step(first, name, seed=3)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert step(again, name, seed=3) == losses
    mine, theirs = gradients(first), gradients(again)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


@each_recipe
def test_the_loss_falls_on_a_batch_that_is_seen_again_and_again(name):
    net = Supernet(SPACE).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for seed in range(20):
        optimizer.zero_grad()
        losses.append(sum(step(net, name, seed).values()))
        optimizer.step()
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


@each_recipe
def test_every_parameter_is_trained_sooner_or_later(name):
    """Weights that no step touches would be shipped as they were drawn at random."""
    net, recipe = Watched().train(), recipes.open_recipe(name)
    seed, untrained = 0, set(dict(net.named_parameters()))
    while untrained and seed < 150:
        step(net, recipe, seed, progress=min(0.99, seed / 30))
        untrained -= {key for key, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        seed += 1
    assert not untrained


@each_recipe
def test_every_subnet_is_of_the_space_and_gets_images_of_its_own_resolution(name):
    net, recipe = Watched().train(), recipes.open_recipe(name)
    for seed in range(12):
        step(net, recipe, seed, progress=seed / 12)
    assert all(hw == SPACE.resolution(arch) for arch, hw in net.sizes)
    assert {hw for _, hw in net.sizes} == {12, 16}
    for arch, _ in net.sizes:
        SPACE.row(arch)


@each_recipe
def test_labels_may_be_probabilities(name):
    hard, soft = Supernet(SPACE).train(), Supernet(SPACE).train()
    losses = step(hard, name)
    found = step(soft, name, labels=F.one_hot(LABELS, 5).float())
    assert found == pytest.approx(losses, rel=1e-5)
    theirs = gradients(hard)
    for key, gradient in gradients(soft).items():
        torch.testing.assert_close(gradient, theirs[key], rtol=1e-4, atol=1e-5)


@each_recipe
def test_losses_have_the_same_names_from_the_first_step_to_the_last(name):
    net, recipe = Supernet(SPACE).train(), recipes.open_recipe(name)
    told = [set(step(net, recipe, progress=progress)) for progress in (0, 0.31, 0.52, 0.76, 0.99)]
    assert all(names == told[0] for names in told)


def trained(net, recipe, steps):
    """The losses of some steps of a training of ten."""
    losses = []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for number in steps:
        if isinstance(recipe, Staged):
            recipe.begin(net, number / 10, (number + 1) / 10)
        optimizer.zero_grad()
        losses.append(step(net, recipe, seed=number, progress=number / 10))
        optimizer.step()
    return losses


@each_recipe
def test_a_recipe_that_gets_its_state_back_goes_on_as_if_nothing_had_happened(name):
    expected = trained(Supernet(SPACE).train(), recipes.open_recipe(name), range(10))
    for broken_at in (4, 9):
        net, recipe, again = Supernet(SPACE).train(), recipes.open_recipe(name), recipes.open_recipe(name)
        trained(net, recipe, range(broken_at))
        if isinstance(recipe, Remembering):
            again.load_state({key: tensor.clone().contiguous() for key, tensor in recipe.state().items()})
        assert trained(net, again, range(broken_at, 10)) == expected[broken_at:]


class BrokenError(Exception):
    """Stands for a power cut."""


def breaking(task, fraction, note):
    if fraction > 0.85:
        raise BrokenError


@each_recipe
def test_a_training_that_was_broken_ends_with_the_weights_of_an_unbroken_one(name, tmp_path):
    plan, data = TrainPlan(recipe=name, steps=10, batch=4, lr=0.05, ema=0.5), Noise((1, 16, 16), tuple("abcde"))
    unbroken, broken, resumed = (Supernet(SPACE) for _ in range(3))
    train(unbroken, data, plan, tmp_path / "unbroken")
    with pytest.raises(BrokenError):
        train(broken, data, plan, tmp_path / "broken", every_s=0.0, report=breaking)
    train(resumed, data, plan, tmp_path / "broken")
    expected = unbroken.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in resumed.state_dict().items())


@pytest.mark.parametrize("name", [n for n in recipes.names() if isinstance(recipes.open_recipe(n), Remembering)])
def test_a_fresh_recipe_remembers_nothing_and_refuses_what_is_not_its_own(name):
    recipe = recipes.open_recipe(name)
    assert recipe.state() == {}
    recipe.load_state({})
    with pytest.raises(ValueError, match=r"wanted|other names"):
        recipe.load_state({"toast": torch.zeros(3)})


def test_an_unknown_recipe_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="sandwich"):
        recipes.open_recipe("toast")
