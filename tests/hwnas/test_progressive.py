"""Progressive shrinking: what its phases sample, whom subnets learn from, and how channels are sorted."""

from copy import deepcopy
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.arch import Arch
from hwnas.nets.supernet import Supernet
from hwnas.space import Dimension
from hwnas.spaces import open_space
from hwnas.training.objective import logits_of
from hwnas.training.recipes import open_recipe
from hwnas.training.recipes.progressive import PHASES, least_choices, phase_of

from ..watched import DIMENSIONS, IMAGES, LABELS, SPACE, Unlearning, Watched, step


@pytest.mark.parametrize(
    ("phase", "kernels", "depths", "expands"),
    [
        (0, {7}, {3}, {6}),
        (1, {3, 5, 7}, {3}, {6}),
        (2, {3, 5, 7}, {2, 3}, {6}),
        (3, {3, 5, 7}, {1, 2, 3}, {6}),
        (4, {3, 5, 7}, {1, 2, 3}, {4, 6}),
        (5, {3, 5, 7}, {1, 2, 3}, {3, 4, 6}),
    ],
)
def test_a_phase_samples_all_that_it_may_and_nothing_else(phase, kernels, depths, expands):
    net, recipe = Unlearning(), open_recipe("progressive")
    for seed in range(60):
        step(net, recipe, seed, PHASES[phase].start)
    taught = [arch for number, arch in enumerate(net.ran) if phase == 0 or number % (PHASES[phase].subnets + 1)]
    running = {"resolution": set(), "depth": set(), "kernel": set(), "expand": set()}
    for arch in taught:
        blocks = SPACE.layers(arch)
        for name, value in zip(DIMENSIONS, arch.values, strict=True):
            slot, _, kind = name.rpartition(".")
            if kind in ("resolution", "depth") or slot in blocks:  # a block that is left out has no kernel
                running[kind].add(value)
    assert running == {"resolution": {12, 16}, "depth": depths, "kernel": kernels, "expand": expands}


def test_subnets_a_step_are_one_then_two_then_four_and_the_teacher_is_asked_once():
    for phase, subnets_a_step in enumerate((1, 1, 2, 2, 4, 4)):
        net = Watched().train()
        step(net, "progressive", progress=PHASES[phase].start)
        assert len(net.trained) == subnets_a_step
        assert net.judged == ([SPACE.largest] if phase else [])


def test_phases_change_at_their_starts_and_nowhere_else():
    starts = [phase.start for phase in PHASES]
    assert starts[0] == 0 and starts == sorted(starts) and starts[-1] < 1
    for number, start in enumerate(starts):
        assert phase_of(start) == number
        assert phase_of(np.nextafter(start, -1)) == number - 1 or number == 0
    assert phase_of(1.0) == len(PHASES) - 1


def test_the_rates_at_which_phases_begin_are_to_the_first_as_in_the_paper():
    recipe = open_recipe("progressive")
    rates = [recipe.lr_scale(p.start) * 0.5 * (1 + np.cos(np.pi * p.start)) for p in PHASES]
    np.testing.assert_allclose(rates, np.array([2.6, 0.96, 0.08, 0.24, 0.08, 0.24]) / 2.6, rtol=0.03)


@given(st.integers(0, 5))
def test_a_dimension_of_another_kind_is_elastic_from_the_first_step_on(phase):
    space = open_space("digits@0.1", resolutions=(8, 16), classes=5)
    space.dimensions = (*space.dimensions, Dimension("colour", (1, 2, 3), ()))
    least = least_choices(space, phase)
    assert least[0] == 0 and least[-1] == 0


def moved(net, seed):
    """Let all parameters differ a little from what they were."""
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)))


def test_distillation_adds_the_cross_entropy_with_the_teacher_to_that_with_the_labels():
    net, recipe = Watched().train(), open_recipe("progressive")
    teacher = Watched().train()
    step(net, recipe, progress=PHASES[1].start)  # the teacher is the net as it is before this step
    soft = logits_of(teacher, SPACE.largest, IMAGES).softmax(dim=1)
    moved(net, 1)
    net.trained.clear()
    found = step(net, recipe, 3, PHASES[5].start)
    by_hand = []
    for arch in list(net.trained):
        log_p = logits_of(net, arch, IMAGES).log_softmax(dim=1)
        by_hand.append((-log_p[torch.arange(10), LABELS].mean() - (soft * log_p).sum(dim=1).mean()).item())
    assert len(by_hand) == 4 and found["random"] == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_the_teacher_is_the_net_at_the_end_of_the_first_phase_and_stays_so():
    net, recipe = Supernet(SPACE).train(), open_recipe("progressive")
    step(net, recipe, progress=0.2)
    assert recipe.state() == {}
    moved(net, 1)
    expected = {key: p.detach().clone() for key, p in net.named_parameters()}
    for progress in (0.3, 0.6, 0.9):
        step(net, recipe, progress=progress)
        moved(net, 2)
    assert all(torch.equal(recipe.state()[key], value) for key, value in expected.items())


def logits_in_both_modes(net, archs):
    """By statistics of the batch and by running ones; of a copy, because the former change the latter."""
    found = []
    for mode in (True, False):
        copy = deepcopy(net).train(mode)
        with torch.no_grad():
            found += [logits_of(copy, arch, IMAGES) for arch in archs]
    return found


def settled(space=SPACE, seed=0):
    """A net with all parameters and statistics apart from each other, as training leaves them."""
    net = Watched(space)
    moved(net, seed)
    with torch.no_grad():
        for buffer in net.buffers():
            buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(seed))
    return net


def with_expand(expand, seed):
    """Any subnet whose blocks all have this expansion."""
    row = SPACE.sample(1, np.random.default_rng(seed))[0]
    values = [
        expand if name.endswith(".expand") else v for name, v in zip(DIMENSIONS, SPACE.arch(row).values, strict=True)
    ]
    return Arch(SPACE.name, tuple(values))


def test_sorting_channels_leaves_every_full_width_subnet_as_it_was():
    net, recipe = settled(), open_recipe("progressive")
    archs = [SPACE.largest, *(with_expand(6, seed) for seed in range(5))]
    before = logits_in_both_modes(net, archs)
    assert recipe.begin(net, PHASES[4].start - 0.01, PHASES[4].start)
    for found, expected in zip(logits_in_both_modes(net, archs), before, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_sorting_again_before_the_last_phase_leaves_the_narrower_subnets_as_they_were_too():
    net, recipe = settled(), open_recipe("progressive")
    archs = [SPACE.largest, *(with_expand(expand, seed) for expand, seed in product((4, 6), range(4)))]
    before, narrow = logits_in_both_modes(net, archs), logits_in_both_modes(net, [with_expand(3, 0)])
    assert recipe.begin(net, PHASES[4].start, PHASES[5].start)
    for found, expected in zip(logits_in_both_modes(net, archs), before, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits_in_both_modes(net, [with_expand(3, 0)])[0], narrow[0], atol=1e-3)


def importances(net, slot):
    return net.elastic(slot).layers["project"].weight.detach().abs().sum(dim=(0, 2, 3)).numpy()


def test_channels_come_in_the_order_of_what_the_projection_makes_of_them():
    net = settled()
    elastic = [slot for slot in SPACE.layers(SPACE.largest) if slot.startswith("s") and slot != "stem"]
    before = {slot: importances(net, slot) for slot in elastic}
    open_recipe("progressive").begin(net, 0.7, PHASES[4].start)
    for slot in elastic:
        assert (np.diff(importances(net, slot)) <= 1e-6).all()
        np.testing.assert_allclose(np.sort(importances(net, slot)), np.sort(before[slot]), rtol=1e-6)
    assert any((before[slot] != importances(net, slot)).any() for slot in elastic)


def test_sorted_channels_lose_less_when_expansions_shrink():
    """Why they are sorted at all: what a narrow subnet drops is what the projection hardly uses."""
    shares = []
    for seed in range(3):
        net = settled(seed=seed)
        unsorted = importances(net, "s2b2")
        open_recipe("progressive").begin(net, 0.7, PHASES[4].start)
        half = len(unsorted) // 2
        shares.append(importances(net, "s2b2")[:half].sum() - unsorted[:half].sum())
    assert min(shares) > 0


TINY = open_space("digits@0.01", resolutions=(8,), classes=5)


@given(st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_channels_are_sorted_once_before_each_narrowing_phase_of_a_training_of_any_length(steps):
    net, recipe = Unlearning(TINY), open_recipe("progressive")
    sorted_at = [number for number in range(steps) if recipe.begin(net, number / steps, (number + 1) / steps)]
    # At the last step before the phase, as far as that ends before it.
    expected = {next(n for n in range(steps) if (n + 1) / steps >= phase.start) for phase in PHASES[4:]}
    assert set(sorted_at) == expected


@pytest.mark.parametrize("name", ["proxyless", "ofa-proxyless", "ofa-mbv3"])
def test_channels_of_other_spaces_are_sorted_without_changing_the_largest_net(name):
    space = open_space(f"{name}@0.1", resolutions=(32,), classes=5)
    net = settled(space)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = net.eval()(images, space.largest)
        assert open_recipe("progressive").begin(net, 0.0, 1.0)
        torch.testing.assert_close(net(images, space.largest), before, rtol=1e-4, atol=1e-4)
