"""Which subnets are evaluated, when that is enough, and which of them wins: predictors and searches are scripted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from types import SimpleNamespace

import numpy as np
import pytest

from hwnas.arch import Arch
from hwnas.search import subnets
from hwnas.search.constraints import Constraint, Constraints
from hwnas.search.engine import Found
from hwnas.search.subnets import FINALISTS, FIRST_SUBNETS, MORE_SUBNETS, PREDICTED, ROUNDS, SURE, best_subnet
from lut.compiled import Compiled
from profilers.errors import InfeasibleError

from ..kit import small

SPACE = small(16, 24)
COST = Compiled.of(SPACE, lambda block: 0.01 + block.macs / 1e6)
ROWS = np.unique(SPACE.canonical(np.array(list(product(*map(range, SPACE.sizes))))), axis=0)
ROWS = ROWS[np.argsort(COST(ROWS), kind="stable")]
LIMIT = float(COST(ROWS)[len(ROWS) // 2])
WITHIN = Constraints((Constraint("latency", COST, LIMIT, "ms"),))
FINE = ROWS[COST(ROWS) <= LIMIT]  # from the cheapest to the dearest
ERROR = 0.05  # of an accuracy of one half, found on a hundred images


@dataclass
class Judge:
    """Every subnet is right on half of the images, but for those whose accuracy a test says."""

    better: dict[Arch, float] = field(default_factory=dict)
    known: dict[Arch, float] = field(default_factory=dict)
    images: int = 100

    def judge(self, archs: Sequence[Arch]) -> Iterator[tuple[Arch, float]]:
        for arch in archs:
            assert arch not in self.known
            self.known[arch] = self.better.get(arch, 0.5)
            yield arch, self.known[arch]


@dataclass
class Script:
    """What predictors' errors are, and what searches find; notes what was asked for."""

    rmse: list[float] = field(default_factory=lambda: [0.0])  # of one predictor after the other; the last goes on
    found: list[np.ndarray] = field(default_factory=list)  # by one search after the other
    fitted: list[int] = field(default_factory=list)  # on how many accuracies each predictor was
    searches: list[SimpleNamespace] = field(default_factory=list)

    def fit_all(self, _, known) -> list[SimpleNamespace]:
        rmse = self.rmse[min(len(self.fitted), len(self.rmse) - 1)]
        self.fitted.append(len(known))
        best = SimpleNamespace(rmse=rmse, gains=object(), describe=lambda: "", number=len(self.fitted))
        return [best, SimpleNamespace(rmse=np.inf, gains=None, describe=lambda: "", number=None)]

    def search(self, _, constraints, predictor, rng, *, evaluations, gains, **__) -> Found:
        assert constraints is WITHIN and gains is predictor.gains and evaluations == PREDICTED
        self.searches.append(SimpleNamespace(predictor=predictor.number, drawn=float(rng.random())))
        population = self.found.pop(0) if self.found else FINE[:0]
        return Found(population, np.zeros(len(population)), 100)


@pytest.fixture
def script(monkeypatch) -> Script:
    made = Script()
    monkeypatch.setattr(subnets, "search", made.search)
    monkeypatch.setattr(subnets, "AccuracyPredictor", SimpleNamespace(fit_all=made.fit_all))
    return made


@pytest.fixture
def spread(script) -> list[Arch]:
    """Those that are evaluated for the predictor, all of them, in their order."""
    judge = Judge()
    script.rmse = [1.0]
    best_subnet(SPACE, WITHIN, judge, seed=0)
    script.rmse, script.fitted, script.searches = [0.0], [], []
    return list(judge.known)


def unseen(spread: list[Arch], number: int) -> list[Arch]:
    """Architectures within the limits that the predictor is not fitted on."""
    found = [arch for arch in map(SPACE.arch, FINE) if arch not in spread]
    assert len(found) >= number
    return found[:number]


def rows(archs: list[Arch]) -> np.ndarray:
    return np.stack([SPACE.row(arch) for arch in archs])


def test_a_predictor_that_is_sure_needs_the_first_subnets_only(script):
    judge = Judge()
    script.rmse = [SURE * ERROR]
    best_subnet(SPACE, WITHIN, judge, seed=0)
    assert script.fitted == [FIRST_SUBNETS] and len(judge.known) == FIRST_SUBNETS


def test_one_that_is_not_sure_gets_more_until_it_is_or_there_are_no_more(script):
    judge = Judge()
    script.rmse = [SURE * ERROR * 1.001, SURE * ERROR * 1.001, SURE * ERROR]
    best_subnet(SPACE, WITHIN, judge, seed=0)
    assert script.fitted == [FIRST_SUBNETS, FIRST_SUBNETS + MORE_SUBNETS, FIRST_SUBNETS + 2 * MORE_SUBNETS]
    script.rmse, script.fitted = [1.0], []
    best_subnet(SPACE, WITHIN, Judge(), seed=0)
    assert script.fitted == [40, 60, 80, subnets.EVALUATED_SUBNETS, subnets.EVALUATED_SUBNETS]


def test_an_accuracy_on_more_images_is_more_exact_and_asks_more_of_the_predictor(script):
    script.rmse = [SURE * ERROR, SURE * ERROR / 2]
    best_subnet(SPACE, WITHIN, Judge(images=400), seed=0)
    assert script.fitted == [FIRST_SUBNETS, FIRST_SUBNETS + MORE_SUBNETS]


@pytest.mark.parametrize("known", [0, 30, FIRST_SUBNETS, 50])
def test_an_interrupted_judge_goes_on_where_it_was_and_knows_nothing_of_other_spaces(script, spread, known):
    judge = Judge(known=dict.fromkeys(spread[:known], 0.5) | {Arch("other", (n,)): 0.5 for n in range(7)})
    best_subnet(SPACE, WITHIN, judge, seed=0)
    most = max(known, FIRST_SUBNETS)
    assert [arch for arch in judge.known if arch.space == SPACE.name] == spread[:most] and script.fitted == [most + 7]


@pytest.mark.parametrize("known", [FIRST_SUBNETS, FIRST_SUBNETS + 5])
def test_one_that_is_not_sure_of_all_that_is_known_gets_more(script, spread, known):
    fresh = [SPACE.arch(row) for row in ROWS if SPACE.arch(row) not in spread][:known]
    judge = Judge(known=dict.fromkeys(fresh, 0.5))
    script.rmse = [1.0, 0.0]
    best_subnet(SPACE, WITHIN, judge, seed=0)
    assert script.fitted == [len(fresh), len(fresh) + MORE_SUBNETS]


def test_of_few_evaluations_a_round_of_finalists_is_kept_back(script, spread):
    finalists = unseen(spread, 3 * FINALISTS)
    better = {arch: 0.5 + number / 100 for number, arch in enumerate(finalists)}
    judge = Judge(better)
    script.rmse = [1.0]
    script.found = [rows(finalists[i : i + FINALISTS]) for i in range(0, len(finalists), FINALISTS)]
    found = best_subnet(SPACE, WITHIN, judge, seed=0, evaluations=20 + FINALISTS)
    assert list(judge.known) == spread[:20] + finalists[:FINALISTS]
    assert found.arch == finalists[FINALISTS - 1] and script.fitted[:2] == [20, 20]


def test_fewer_evaluations_than_finalists_are_all_theirs(script, spread):
    finalists = unseen(spread, FINALISTS)
    judge = Judge(known={finalists[-1]: 0.5})
    script.found = [rows(finalists)]
    best_subnet(SPACE, WITHIN, judge, seed=0, evaluations=3)
    assert list(judge.known)[1:] == finalists[:3]


def test_finalists_are_added_while_they_improve_the_best_and_the_predictor_learns_of_them(script, spread):
    finalists = unseen(spread, 3 * FINALISTS)
    judge = Judge({finalists[2]: 0.6, finalists[FINALISTS + 1]: 0.7, finalists[-1]: 0.65})
    script.found = [rows(finalists[i : i + FINALISTS]) for i in range(0, len(finalists), FINALISTS)]
    found = best_subnet(SPACE, WITHIN, judge, seed=3)
    assert (found.arch, found.accuracy, found.evaluations) == (finalists[FINALISTS + 1], 0.7, 300)
    assert script.fitted == [FIRST_SUBNETS, FIRST_SUBNETS + FINALISTS, FIRST_SUBNETS + 2 * FINALISTS]
    assert [search.predictor for search in script.searches] == [1, 2, 3] and found.predictor.number == 3
    assert {search.drawn for search in script.searches} == {np.random.default_rng(3).random()}


def test_rounds_of_finalists_come_to_an_end(script, spread):
    finalists, rising = unseen(spread, 2 * ROUNDS * FINALISTS), count()
    judge = Judge({arch: 0.5 + next(rising) / 1000 for arch in finalists})
    script.found = [rows(finalists[i : i + FINALISTS]) for i in range(0, len(finalists), FINALISTS)]
    found = best_subnet(SPACE, WITHIN, judge, seed=0)
    assert len(script.searches) == ROUNDS and found.arch == finalists[ROUNDS * FINALISTS - 1]


def test_a_search_that_finds_only_what_is_known_ends_the_rounds(script, spread):
    judge = Judge(known=dict.fromkeys(map(SPACE.arch, FINE), 0.5))
    script.found = [FINE[:FINALISTS], FINE[:FINALISTS]]
    best_subnet(SPACE, WITHIN, judge, seed=0)
    assert len(script.searches) == 1 and len(judge.known) == len(FINE)


def test_the_best_is_within_the_limits_of_this_space_and_not_excluded(script, spread):
    dear, cheap = SPACE.arch(ROWS[-1]), [SPACE.arch(row) for row in FINE[:3]]
    other = Arch("other", cheap[0].values)
    judge = Judge(known={dear: 0.99, other: 0.98, cheap[0]: 0.9, cheap[1]: 0.8, cheap[2]: 0.7})
    assert best_subnet(SPACE, WITHIN, judge, seed=0).arch == cheap[0]
    assert best_subnet(SPACE, WITHIN, judge, seed=0, excluded=[cheap[0]]).arch == cheap[1]


def test_of_what_is_excluded_nothing_is_evaluated_and_the_next_in_line_takes_its_place(script, spread):
    finalists = unseen(spread, FINALISTS + 3)
    judge = Judge()
    script.found = [rows(finalists)]
    best_subnet(SPACE, WITHIN, judge, seed=0, excluded=finalists[:2])
    assert list(judge.known)[FIRST_SUBNETS:] == finalists[2 : 2 + FINALISTS]


def test_where_all_within_the_limits_is_excluded_the_least_is_told(script):
    with pytest.raises(InfeasibleError, match="no other architecture is left within the limits") as caught:
        best_subnet(SPACE, WITHIN, Judge(), seed=0, excluded=list(map(SPACE.arch, FINE)))
    assert caught.value.least == COST.least()[0]


def test_what_nothing_can_meet_is_told_before_anything_is_evaluated(script):
    judge, least = Judge(), COST.least()[0]
    with pytest.raises(InfeasibleError):
        best_subnet(SPACE, Constraints((Constraint("latency", COST, 0.9 * least),)), judge, seed=0)
    assert not judge.known and not script.fitted


def test_progress_tells_how_many_of_those_to_be_evaluated_are_done(script):
    told = []
    best_subnet(SPACE, WITHIN, Judge(), seed=0, report=lambda *what: told.append(what))
    done = [(share, text) for what, share, text in told if what == "evaluate subnets"]
    assert len(done) == FIRST_SUBNETS and done[0] == (1 / FIRST_SUBNETS, f"1 of {FIRST_SUBNETS}: 50.0 %")
    assert done[-1][0] == 1
