"""What the accuracy predictor says of itself is true of architectures it has never seen."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from hwnas.search.accuracy import KINDS, AccuracyPredictor, MeasuredAccuracy
from hwnas.search.accuracy.boosting import SETTINGS, Boosting
from hwnas.search.accuracy.features import Features
from hwnas.search.accuracy.perceptron import BATCH
from hwnas.search.accuracy.ridge import STRENGTHS, Ridge
from hwnas.spaces import open_space
from profilers.errors import InvalidInputError, UnknownNameError

SPACE = open_space("digits")


def additive_accuracy(seed, noise=0.0):
    """Accuracies by architecture that are a sum over choices, with a spread of a few percent."""
    rng = np.random.default_rng(seed)
    worth = rng.normal(0, 0.01, sum(SPACE.sizes))

    def accuracies(rows):
        return 0.6 + SPACE.encode(rows) @ worth + rng.normal(0, noise, len(rows))

    return accuracies


def evaluated(accuracies, count=150, seed=0):
    rows = np.unique(SPACE.sample(count, np.random.default_rng(seed)), axis=0)
    return dict(zip(map(SPACE.arch, rows), accuracies(rows).tolist(), strict=True))


def root_mean_square(errors):
    return np.sqrt(np.mean(errors**2))


@pytest.fixture(scope="module")
def predictors():
    """One of each kind, fitted on the same subnets."""
    evaluations = evaluated(additive_accuracy(0, noise=0.005))
    return {kind: AccuracyPredictor.fit(SPACE, evaluations, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_it_ranks_architectures_whose_choices_add_up(kind, seed):
    accuracies = additive_accuracy(seed)
    predictor = AccuracyPredictor.fit(SPACE, evaluated(accuracies), kind)
    fresh = SPACE.sample(500, np.random.default_rng(99))
    tau = kendalltau(predictor(fresh), accuracies(fresh)).statistic
    assert predictor.kendall_tau > 0.6 and tau > 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_its_error_is_the_error_on_architectures_it_has_not_seen(kind, seed):
    accuracies = additive_accuracy(seed, noise=0.005)
    evaluations = evaluated(accuracies)
    predictor = AccuracyPredictor.fit(SPACE, evaluations, kind)
    fresh = SPACE.sample(2000, np.random.default_rng(99))
    assert predictor.rmse == pytest.approx(root_mean_square(predictor(fresh) - accuracies(fresh)), rel=0.25)
    seen = np.stack([SPACE.row(arch) for arch in evaluations])
    on_its_own = root_mean_square(predictor(seen) - np.array(list(evaluations.values())))
    assert on_its_own < 0.85 * predictor.rmse  # so that one of the two, at least, is not of training data


@pytest.mark.parametrize("kind", KINDS)
def test_it_claims_no_skill_where_there_is_nothing_to_learn(kind):
    noise = evaluated(lambda rows: np.random.default_rng(1).uniform(0.5, 0.6, len(rows)))
    assert abs(AccuracyPredictor.fit(SPACE, noise, kind).kendall_tau) < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_equal_accuracies_have_no_order_to_claim(kind):
    predictor = AccuracyPredictor.fit(SPACE, evaluated(lambda rows: np.full(len(rows), 0.5), count=30), kind)
    assert predictor.kendall_tau == 0 and predictor.rmse < 1e-6
    np.testing.assert_allclose(predictor(SPACE.sample(10, np.random.default_rng(0))), 0.5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_evaluations_does_not_matter(kind):
    evaluations = evaluated(additive_accuracy(0, noise=0.01), count=60)
    predictor = AccuracyPredictor.fit(SPACE, evaluations, kind)
    turned = AccuracyPredictor.fit(SPACE, dict(reversed(evaluations.items())), kind)
    fresh = SPACE.sample(50, np.random.default_rng(3))
    assert turned.rmse == predictor.rmse and (turned(fresh) == predictor(fresh)).all()


def test_fewer_than_twenty_evaluations_are_refused():
    some = list(evaluated(additive_accuracy(0)).items())
    AccuracyPredictor.fit(SPACE, dict(some[:20]))
    with pytest.raises(InvalidInputError, match="needs 20 evaluated subnets and has 19"):
        AccuracyPredictor.fit(SPACE, dict(some[:19]))


def test_a_kind_there_is_none_of_is_refused_with_those_there_are():
    with pytest.raises(UnknownNameError, match="'forest': there is boosting, mlp, ridge"):
        AccuracyPredictor.fit(SPACE, evaluated(additive_accuracy(0)), "forest")


def test_of_all_kinds_that_of_least_held_out_error_comes_first():
    found = AccuracyPredictor.fit_all(SPACE, evaluated(additive_accuracy(0)))
    assert {predictor.kind for predictor in found} == set(KINDS)
    assert [p.rmse for p in found] == sorted(p.rmse for p in found)
    assert found[0].kind == "ridge"  # what adds up, without noise, is a weighted sum
    assert found[-1].describe() == (
        f"{found[-1].kind} on 150 subnets, held-out error {100 * found[-1].rmse:.2f} %, "
        f"Kendall's tau {found[-1].kendall_tau:.2f}"
    )


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Boosting, GradientBoostingRegressor(**SETTINGS)), (Ridge, RidgeCV(STRENGTHS))]
)
def test_without_scikit_learn_it_predicts_what_scikit_learn_predicts(ours, theirs):
    accuracies, features = additive_accuracy(1, noise=0.01), Features(SPACE)
    rows, fresh = SPACE.sample(150, np.random.default_rng(0)), SPACE.sample(500, np.random.default_rng(1))
    known = accuracies(rows)
    expected = theirs.fit(features(rows).astype(np.float64), known).predict(features(fresh).astype(np.float64))
    np.testing.assert_allclose(ours.fit(features(rows), known)(features(fresh)), expected, rtol=0, atol=1e-12)


ROUNDINGS = {"mlp": 1e-6}
"""What a BLAS may make of a row's place in a product, in float32; the others have none, and no such difference."""


@pytest.mark.parametrize("kind", KINDS)
def test_an_accuracy_depends_on_its_own_row_alone(kind, predictors):
    """Nor on how many rows there are, nor on their order: but for roundings, far below what tells rows apart."""
    predictor, rng = predictors[kind], np.random.default_rng(0)
    rows = np.unique(SPACE.sample(3 * BATCH + 5, rng), axis=0)
    rows = rows[rng.permutation(len(rows))]
    whole, order, most = predictor(rows), rng.permutation(len(rows)), ROUNDINGS.get(kind, 0.0)
    assert np.median(np.abs(np.diff(whole))) > 1000 * most  # so that another row's would be noticed
    assert np.abs(predictor(rows[order]) - whole[order]).max() <= most
    for count in (1, 2, 3, 4, 5, 17, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH):
        assert np.abs(predictor(rows[:count]) - whole[:count]).max() <= most, count
    assert predictor(rows[:0]).shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_neither_what_is_fitted_nor_what_is_predicted(kind, predictors):
    rows = SPACE.sample(700, np.random.default_rng(5))
    evaluations = evaluated(additive_accuracy(0, noise=0.005))
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            assert (AccuracyPredictor.fit(SPACE, evaluations, kind)(rows) == predictors[kind](rows)).all()


def test_measured_accuracies_have_the_same_interface():
    asked = []

    def judge(arch):
        asked.append(arch)
        return arch.values[1] / 10

    model = MeasuredAccuracy(SPACE, judge, {"supernet": "abc"})
    rows = SPACE.sample(5, np.random.default_rng(0))
    assert model(rows).tolist() == [SPACE.arch(row).values[1] / 10 for row in rows]
    assert asked == [SPACE.arch(row) for row in rows]
    assert model.facts() == {"kind": "measured", "supernet": "abc"} and model(rows[:0]).shape == (0,)
