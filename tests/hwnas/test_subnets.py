"""Searching over a supernet: no more subnets are evaluated than it takes, and never more than allowed."""

import numpy as np
import pytest

from hwnas.search import subnets
from hwnas.search.accuracy.ridge import Ridge
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.subnets import BestSubnet, best_subnet
from hwnas.spaces import open_space
from lut.compiled import Compiled
from profilers.errors import InfeasibleError

SPACE = open_space("digits")
COST = Compiled.of(SPACE, lambda block: 0.01 + block.macs / 1e7)
LEAST, GREATEST = COST.least()[0], COST.greatest()
HALF = Constraints((Constraint("latency", COST, (LEAST + GREATEST) / 2, "ms"),))


class Known:
    """Accuracies that rise with cost, by a law that a predictor finds, and noise that it does not."""

    def __init__(self, noise: float) -> None:
        self.noise, self.known, self.images = noise, {}, 1500

    def judge(self, archs):
        for arch in archs:
            row = SPACE.row(arch)
            noise = np.random.default_rng([int(n) for n in row]).standard_normal()
            self.known[arch] = 0.9 + 0.05 * float(COST(row[None])[0] / GREATEST) + self.noise * noise
            yield arch, self.known[arch]


@pytest.fixture(autouse=True)
def one_predictor(monkeypatch):
    monkeypatch.setattr("hwnas.search.accuracy.predictor.KINDS", {"ridge": Ridge})
    monkeypatch.setattr(subnets, "PREDICTED", 200)


def find(judge, **options) -> BestSubnet:
    return best_subnet(SPACE, HALF, judge, seed=0, **options)


def test_of_what_is_easy_to_predict_few_subnets_are_evaluated():
    judge = Known(noise=0.0)
    found = find(judge)
    most = subnets.FIRST_SUBNETS + subnets.ROUNDS * subnets.FINALISTS
    assert len(judge.known) <= most < subnets.EVALUATED_SUBNETS + 2 * subnets.FINALISTS  # were it hard to predict
    cost = float(COST(SPACE.row(found.arch)[None])[0])
    assert LEAST + 0.85 * (HALF.all[0].limit - LEAST) < cost <= HALF.all[0].limit


def test_of_what_is_hard_to_predict_more_are_evaluated():
    easy, hard = Known(noise=0.0), Known(noise=0.02)
    find(easy)
    find(hard)
    assert len(hard.known) >= subnets.EVALUATED_SUBNETS + subnets.FINALISTS > len(easy.known)


def test_no_more_are_evaluated_than_allowed_and_finalists_are_among_them():
    judge = Known(noise=0.02)
    found = find(judge, evaluations=41)
    assert len(judge.known) <= 41 and found.arch in judge.known
    assert HALF.met(SPACE.row(list(judge.known)[-1])[None])[0]


def test_what_is_known_is_not_evaluated_again_and_counts():
    judge = Known(noise=0.0)
    first, many = find(judge), len(judge.known)
    assert find(judge).accuracy >= first.accuracy
    assert len(judge.known) <= many + subnets.ROUNDS * subnets.FINALISTS  # none but finalists


def test_the_first_of_the_spread_subnets_are_spread_themselves():
    assert subnets._interleaved(8) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert sorted(subnets._interleaved(100)) == list(range(100))


def test_what_is_excluded_is_never_found_and_where_all_is_nothing_is():
    judge = Known(noise=0.0)
    first = find(judge)
    assert find(judge, excluded={first.arch}).arch != first.arch
    everything = set(judge.known)
    with pytest.raises(InfeasibleError, match="no other architecture is left"):
        find(judge, excluded=everything, evaluations=0)
