"""Recipes train what their papers say: which subnets, how often, on what targets."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.objective import learn, logits_of, resized, smoothed
from hwnas.training.recipes import open_recipe
from hwnas.training.sampling import macs_of, near_macs

from ..watched import DIMENSIONS, IMAGES, LABELS, SPACE, Unlearning, Watched, gradients, step, subnets

# What is learned from


@given(st.integers(2, 9), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_smoothed_labels_give_the_loss_that_torch_has_for_label_smoothing(classes, smoothing, seed):
    rng = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(7, classes, generator=rng), torch.randint(classes, (7,), generator=rng)
    found = F.cross_entropy(logits, smoothed(labels, classes, smoothing))
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, label_smoothing=smoothing))


def test_images_are_scaled_down_by_the_mean_of_what_a_pixel_covers_and_never_up():
    flat, ramp = torch.full((2, 1, 16, 16), 0.7), torch.arange(16.0).expand(1, 3, 16, 16)
    torch.testing.assert_close(resized(flat, 12), torch.full((2, 1, 12, 12), 0.7))
    small = resized(ramp, 8)
    assert small.shape == (1, 3, 8, 8)
    torch.testing.assert_close(small[0, 0, 0, 2:6], torch.arange(2.0, 6) * 2 + 0.5)  # away from edges a ramp is a ramp
    dots = resized(torch.arange(2.0).repeat(8).expand(1, 1, 16, 16), 4)
    assert (dots - 0.5).abs().max() < 0.1  # picking pixels would give zeros or ones
    assert resized(ramp, 16) is ramp and resized(ramp, 32) is ramp


def test_a_subnet_learns_from_the_sum_of_its_targets():
    net, soft = Supernet(SPACE).train(), torch.rand(10, 5).softmax(dim=1)
    loss = learn(net, SPACE.largest, IMAGES, LABELS, soft)
    log_p = logits_of(net, SPACE.largest, IMAGES).log_softmax(dim=1)
    by_hand = -log_p[torch.arange(10), LABELS].mean() - (soft * log_p).sum(dim=1).mean()
    assert loss == pytest.approx(by_hand.item(), rel=1e-5)


# Fair


def counts(archs):
    """How often each choice of each dimension was taken."""
    columns = zip(*(arch.values for arch in archs), strict=True)
    return [Counter(column) for column in columns]


def test_fairness_is_strict_each_step_takes_every_choice_of_a_dimension_once():
    for seed in range(5):
        for dimension, taken in zip(SPACE.dimensions, counts(subnets("fair", 1, progress=seed / 5)), strict=True):
            if len(dimension.choices) == 3:
                assert taken == dict.fromkeys(dimension.choices, 1), dimension.name


def test_a_dimension_of_fewer_choices_is_filled_up_over_steps_so_that_none_is_ahead_by_more_than_one():
    archs = subnets("fair", 8)
    assert len(archs) == 24
    for done in range(3, 25, 3):
        taken = counts(archs[:done])[0]
        assert abs(taken[12] - taken[16]) == done % 2
    assert all(len(set(taken.values())) == 1 for taken in counts(archs))


def test_choices_of_two_dimensions_meet_at_random_although_each_is_dealt_fairly():
    pairs = Counter((arch.values[1], arch.values[2]) for arch in subnets("fair", 300))
    assert len(pairs) == 9 and chisquare(list(pairs.values())).pvalue > 0.001


def test_a_fair_step_adds_up_the_gradients_of_its_subnets():
    net, alone = Watched().train(), Watched().train()
    losses = step(net, "fair")
    by_hand = [learn(alone, arch, IMAGES, LABELS) for arch in net.trained]
    assert losses["random"] == pytest.approx(np.mean(by_hand)) and len(by_hand) == 3
    expected = gradients(alone)
    for key, gradient in gradients(net).items():
        torch.testing.assert_close(gradient, expected[key])


# Uniform


def test_uniform_sampling_draws_every_choice_that_decides_something_evenly():
    archs = subnets("uniform", 600)
    stem_sizes = Counter(arch.values[0] for arch in archs)
    kernels = Counter(arch.values[DIMENSIONS.index("s1b1.kernel")] for arch in archs)
    for taken, choices in ((stem_sizes, 2), (kernels, 3)):
        assert len(taken) == choices and chisquare(list(taken.values())).pvalue > 0.001


@pytest.mark.parametrize("space", [SPACE, open_space("digits")], ids=lambda space: space.name)
def test_uniform_macs_are_flat_from_the_least_to_the_most(space):
    archs = subnets("uniform-macs", 600, space)
    found = macs_of(space)(np.array([space.row(arch) for arch in archs]))
    (most,) = macs_of(space)(space.row(space.largest)[None])
    bins = np.histogram(found, bins=10, range=(macs_of(space).least()[0], most))[0]
    assert bins.sum() == 600 and chisquare(bins).pvalue > 0.001


def test_uniform_choices_are_far_from_flat_in_macs():
    """What the test above could not see if it were blind."""
    found = macs_of(SPACE)(np.array([SPACE.row(arch) for arch in subnets("uniform", 300)]))
    (most,) = macs_of(SPACE)(SPACE.row(SPACE.largest)[None])
    bins = np.histogram(found, bins=10, range=(macs_of(SPACE).least()[0], most))[0]
    assert chisquare(bins).pvalue < 1e-9


@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_an_architecture_near_some_macs_misses_them_by_little_wherever_they_are(share, seed):
    macs = macs_of(SPACE)
    least, most = macs.least()[0], macs(SPACE.row(SPACE.largest)[None])[0]
    wanted = least + share * (most - least)
    arch = near_macs(SPACE, wanted, np.random.default_rng(seed))
    assert abs(macs(SPACE.row(arch)[None])[0] - wanted) < 0.05 * (most - least)


# Attentive


@pytest.mark.parametrize(("name", "rank"), [("attentive", 0), ("attentive-worst", -1)])
def test_of_subnets_of_like_macs_the_best_or_the_worst_on_the_batch_is_trained(name, rank):
    macs = macs_of(SPACE)
    for seed in range(4):
        net, again = Watched().train(), Watched().train()
        step(net, name, seed)
        largest, smallest, picked = net.trained
        assert (largest, smallest) == (SPACE.largest, SPACE.smallest) and len(net.judged) == 3
        losses = [F.cross_entropy(logits_of(again, arch, IMAGES), LABELS).item() for arch in net.judged]
        assert picked == net.judged[np.argsort(losses)[rank]]
        of_candidates = macs(np.array([SPACE.row(arch) for arch in net.judged]))
        assert np.ptp(of_candidates) < 0.1 * macs.greatest()


@pytest.mark.parametrize(("recipe_name", "sign"), [("attentive-predicted", 1), ("attentive-worst-predicted", -1)])
def test_a_predictor_of_losses_picks_better_or_worse_subnets_of_the_same_macs_than_chance(recipe_name, sign):
    rng, picked = np.random.default_rng(0), {}
    worth = rng.normal(0, 1, sum(SPACE.sizes))
    rows = SPACE.sample(200, rng)
    known = {"rows": torch.from_numpy(rows), "losses": torch.from_numpy(SPACE.encode(rows) @ worth)}
    for name, state in (("knowing", known), ("new", {})):
        losses = []
        for seed in range(30):
            net, recipe = Unlearning(), open_recipe(recipe_name)
            recipe.load_state(state)
            step(net, recipe, seed)
            assert net.ran[:2] == [SPACE.largest, SPACE.smallest] and len(net.ran) == 3  # nothing is only tried
            losses.append(float((SPACE.encode(SPACE.row(net.ran[2])[None]) @ worth)[0]))
        picked[name] = np.array(losses)
    better = sign * (picked["new"] - picked["knowing"])
    assert better.mean() > 0.5 * picked["new"].std() and (better >= -1e-9).mean() > 0.9


def test_a_predictor_of_losses_learns_from_what_was_picked_and_forgets_what_is_old(monkeypatch):
    monkeypatch.setattr("hwnas.training.recipes.attentive_predicted.KEPT", 7)
    net, recipe = Watched().train(), open_recipe("attentive-predicted")
    told = [step(net, recipe, seed) for seed in range(9)]
    state = recipe.state()
    rows = [SPACE.row(arch).tolist() for arch in net.trained[2::3]]
    assert state["rows"].tolist() == rows[-7:]
    relative = [losses["picked"] - losses["smallest"] for losses in told]
    assert state["losses"].tolist() == pytest.approx(relative[-7:])


@pytest.mark.parametrize("name", ["attentive", "attentive-predicted", "sandwich"])
def test_in_place_distillation_teaches_what_the_largest_has_just_predicted(name):
    net, again = Watched().train(), Watched().train()
    losses = step(net, name)
    largest = logits_of(again, SPACE.largest, IMAGES)
    assert losses["largest"] == pytest.approx(F.cross_entropy(largest, LABELS).item())
    log_p = logits_of(again, SPACE.smallest, IMAGES).log_softmax(dim=1)
    assert losses["smallest"] == pytest.approx(-(largest.softmax(dim=1) * log_p).sum(dim=1).mean().item())


# Path dropout


def test_path_dropout_begins_with_the_largest_and_leaves_out_more_and_more():
    assert set(subnets("path-dropout", 20, progress=0.0)) == {SPACE.largest}
    macs, shares = macs_of(SPACE), []
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        rows = np.array([SPACE.row(arch) for arch in subnets("path-dropout", 100, progress=progress)])
        shares.append(macs(rows).mean() / macs.greatest())
    assert all(a > b + 0.02 for a, b in pairwise(shares))


def test_at_the_end_a_choice_is_dropped_at_the_rate_of_the_paper():
    rate = 0.05 ** (1 / 3)
    expected = np.array([rate**2 * (1 - rate) + rate**3 / 3, rate * (1 - rate) + rate**3 / 3, 1 - rate + rate**3 / 3])
    taken = Counter(arch.values[DIMENSIONS.index("s1b1.kernel")] for arch in subnets("path-dropout", 500, progress=1))
    assert chisquare([taken[k] for k in (3, 5, 7)], expected * 500).pvalue > 0.001
