"""What the accuracy predictor says of itself is true of architectures it has never seen."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from hwnas.search.accuracy import AccuracyPredictor
from hwnas.spaces import open_space
from profilers.errors import InvalidInputError

SPACE = open_space("digits")


def additive_accuracy(seed, noise=0.0):
    """Accuracies by architecture that are a sum over choices, with a spread of a few percent."""
    rng = np.random.default_rng(seed)
    worth = rng.normal(0, 0.01, sum(SPACE.sizes))

    def accuracies(rows):
        return 0.6 + SPACE.encode(rows) @ worth + rng.normal(0, noise, len(rows))

    return accuracies


def fitted(accuracies, count=150, seed=0):
    rows = np.unique(SPACE.sample(count, np.random.default_rng(seed)), axis=0)
    evaluations = dict(zip(map(SPACE.arch, rows), accuracies(rows).tolist(), strict=True))
    return AccuracyPredictor.fit(SPACE, evaluations), evaluations


@pytest.mark.parametrize("seed", range(3))
def test_it_ranks_architectures_whose_choices_add_up(seed):
    accuracies = additive_accuracy(seed)
    predictor, _ = fitted(accuracies)
    fresh = SPACE.sample(500, np.random.default_rng(99))
    tau = kendalltau(predictor(fresh), accuracies(fresh)).statistic
    assert predictor.kendall_tau > 0.6 and tau > 0.6


@pytest.mark.parametrize("seed", range(3))
def test_its_error_is_the_error_on_architectures_it_has_not_seen(seed):
    accuracies = additive_accuracy(seed, noise=0.005)
    predictor, evaluations = fitted(accuracies)
    fresh = SPACE.sample(2000, np.random.default_rng(99))
    independent = np.sqrt(np.mean((predictor(fresh) - accuracies(fresh)) ** 2))
    assert predictor.rmse == pytest.approx(independent, rel=0.25)
    seen = np.stack([SPACE.row(arch) for arch in evaluations])
    on_its_own = np.sqrt(np.mean((predictor(seen) - np.array(list(evaluations.values()))) ** 2))
    assert on_its_own < 0.8 * predictor.rmse  # so that one of the two, at least, is not of training data


def test_it_claims_no_skill_where_there_is_nothing_to_learn():
    predictor, _ = fitted(lambda rows: np.random.default_rng(1).uniform(0.5, 0.6, len(rows)))
    assert abs(predictor.kendall_tau) < 0.2


def test_the_order_of_evaluations_does_not_matter():
    predictor, evaluations = fitted(additive_accuracy(0, noise=0.01), count=60)
    turned = AccuracyPredictor.fit(SPACE, dict(reversed(evaluations.items())))
    fresh = SPACE.sample(50, np.random.default_rng(3))
    assert turned.rmse == predictor.rmse and (turned(fresh) == predictor(fresh)).all()


def test_fewer_than_twenty_evaluations_are_refused():
    archs = list(map(SPACE.arch, np.unique(SPACE.sample(40, np.random.default_rng(0)), axis=0)))
    values = np.random.default_rng(0).uniform(0.5, 0.6, 20).tolist()
    AccuracyPredictor.fit(SPACE, dict(zip(archs[:20], values, strict=True)))
    with pytest.raises(InvalidInputError, match="needs 20 evaluated subnets and has 19"):
        AccuracyPredictor.fit(SPACE, dict(zip(archs[:19], values[:19], strict=True)))
