"""Every recipe found in `hwnas.training.recipes` keeps the contract of one: a step's gradients, and nothing else."""

import math

import numpy as np
import pytest
import torch

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training import recipes
from profilers.errors import UnknownNameError

SPACE = open_space("digits@0.1", resolutions=(16,), classes=5)
IMAGES = torch.randn(10, 1, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10) % 5

each_recipe = pytest.mark.parametrize("name", recipes.names())


def step(net, name, seed=0):
    return recipes.open_recipe(name).backward(net, IMAGES, LABELS, 0.5, np.random.default_rng(seed))


def gradients(net):
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


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
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    losses = []
    for seed in range(15):
        optimizer.zero_grad()
        losses.append(sum(step(net, name, seed).values()))
        optimizer.step()
    assert np.mean(losses[-3:]) < 0.7 * losses[0]


@each_recipe
def test_every_parameter_is_trained_sooner_or_later(name):
    """Weights that no step touches would be shipped as they were drawn at random."""
    net = Supernet(SPACE).train()
    for module in net.modules():
        if hasattr(module, "scale"):  # residual branches begin switched off, and take no gradient behind a zero
            torch.nn.init.ones_(module.scale)
    for seed in range(12):
        step(net, name, seed)
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_unknown_recipe_is_answered_with_those_there_are():
    with pytest.raises(UnknownNameError, match="sandwich"):
        recipes.open_recipe("toast")
