"""A surrogate is a sum over slots, knows what choices decide nothing, and states the error that it has."""

import numpy as np
import pytest

from hwnas.search.surrogate import Surrogate
from hwnas.spaces import open_space
from lut.compiled import Compiled

DIGITS = open_space("digits", resolutions=(32, 40))


def additive(seed):
    """An accuracy to which each block adds something for its kernel, its width and the size of its image."""
    rng = np.random.default_rng(seed)
    worth = {}

    def of(block):
        facts = (("kernel", getattr(block, "kernel", 0)), ("width", getattr(block, "mid_chs", 0)), ("size", block.hw))
        return sum(worth.setdefault(fact, rng.normal(0, 0.01)) for fact in facts)

    return Compiled.of(DIGITS, of, constant=0.7)


@pytest.mark.parametrize("seed", range(3))
def test_sums_over_blocks_are_learned(seed):
    score, rng = additive(seed), np.random.default_rng(seed)
    rows, fresh = DIGITS.sample(600, rng), DIGITS.sample(500, rng)
    surrogate = Surrogate.fit(DIGITS, rows, score(rows))
    error = np.sqrt(np.mean((surrogate.value(fresh) - score(fresh)) ** 2))
    assert error < 0.1 * score(fresh).std()


@pytest.mark.parametrize("seed", range(3))
def test_its_error_is_that_on_architectures_it_has_not_seen(seed):
    rng = np.random.default_rng(seed)
    score, rows, fresh = additive(seed), DIGITS.sample(300, rng), DIGITS.sample(3000, rng)
    surrogate = Surrogate.fit(DIGITS, rows, score(rows) + rng.normal(0, 0.01, len(rows)))
    unseen = surrogate.value(fresh) - score(fresh) - rng.normal(0, 0.01, len(fresh))
    assert surrogate.rmse == pytest.approx(np.sqrt(np.mean(unseen**2)), rel=0.2)


def test_the_left_out_error_is_that_of_leaving_each_out_and_fitting_again():
    rng = np.random.default_rng(0)
    rows = DIGITS.sample(40, rng)
    scores = additive(0)(rows) + rng.normal(0, 0.01, len(rows))
    errors = {}
    for penalty in (1e-2, 1.0, 1e2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hwnas.search.surrogate.PENALTIES", np.array([penalty]))
            stated = Surrogate.fit(DIGITS, rows, scores).rmse
            refitted = [
                Surrogate.fit(DIGITS, np.delete(rows, n, 0), np.delete(scores, n)).value(rows[n][None])[0] - scores[n]
                for n in range(len(rows))
            ]
        errors[penalty] = (stated, np.sqrt(np.mean(np.square(refitted))))
    for stated, found in errors.values():
        assert stated == pytest.approx(found, rel=1e-6)


def test_choices_that_decide_nothing_add_nothing():
    rng = np.random.default_rng(0)
    rows = DIGITS.sample(200, rng)
    surrogate = Surrogate.fit(DIGITS, rows, additive(0)(rows))
    raw = rng.integers(0, DIGITS.sizes, (500, len(DIGITS.sizes)))
    assert (surrogate.value(raw) == surrogate.value(DIGITS.canonical(raw))).all()


def test_equal_scores_make_a_flat_surrogate():
    rows = DIGITS.sample(50, np.random.default_rng(0))
    surrogate = Surrogate.fit(DIGITS, rows, np.full(50, 0.6))
    np.testing.assert_allclose(surrogate.value(rows), 0.6)
    assert surrogate.rmse == pytest.approx(0, abs=1e-12)
