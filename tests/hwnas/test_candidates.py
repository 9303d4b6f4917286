"""Candidates of a budget: which are asked for, how each is measured, when enough were, and which one is handed over.

Searching is exact here, nets and files are stand-ins, and a device takes what the test says; the table is a real one.
"""

from dataclasses import dataclass, field, replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from hwnas import specialize
from hwnas.arch import Arch
from hwnas.export.proven import Exported
from hwnas.search.correction import AIM, ENOUGH
from hwnas.search.limits import Limits
from hwnas.search.subnets import BestSubnet
from hwnas.specialize import ATTEMPTS, Specialiser, Target, check_alike
from lut.blocks import Block
from lut.calibration import Calibration
from lut.compiled import Compiled
from lut.latency_model import LatencyModel
from lut.table import LatencyTable
from profilers.device import Device, Fingerprint
from profilers.errors import DeviceError, InfeasibleError, InvalidInputError, UntrustedError
from profilers.formats import ModelFile
from profilers.measurement import Plan, Visit
from profilers.rounds import Round

from ..kit import small

SPACE = small(16, 24)
ROWS = np.unique(SPACE.canonical(np.array(list(product(*map(range, SPACE.sizes))))), axis=0)
COST = Compiled.of(SPACE, lambda block: 0.01 + block.macs / 1e6)
LEAST_MS, GREATEST_MS = COST.least()[0], COST.greatest()
SPREAD_PCT = 5.0
MODEL = LatencyModel(COST, Calibration(constant_ms=0.0, per_ms=1.0, errors_pct=(SPREAD_PCT, -SPREAD_PCT) * 10))
BUDGET_MS = LEAST_MS + 0.6 * (GREATEST_MS - LEAST_MS)
PLAN = Plan(target_pct=1.0, min_samples=20, max_rounds=104)
HERE = Fingerprint(machine="m", cores=1, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1)
SENTINEL_MS = 0.1
GOLDEN = 0.6180339887498949  # multiples of it, without their whole part, fill a range evenly


def predicted_ms(arch: Arch) -> float:
    return float(COST(SPACE.row(arch)[None])[0])


@dataclass
class Bench:
    """A profiler whose device takes `factor` times what is predicted, and notes what it was asked to measure."""

    device: Device
    factor: object = 1.0  # or a function of the architecture
    format: str = "onnx"
    asked: list = field(default_factory=list)
    noise: float = 0.0
    unfinished: bool = False  # every other round ends before it comes to the net

    def state(self) -> dict:
        return {"load": float(len(self.asked))}

    def model(self, _) -> ModelFile:
        return ModelFile(self.format, b"calibration")

    def measure(self, models, plan, earlier, calm_ms):
        visited = {name: len(visits) for name, visits in earlier.items()}
        self.asked.append(SimpleNamespace(models=models, plan=plan, earlier=visited, calm_ms=calm_ms, rounds=0))
        (finished,) = models.keys() - earlier.keys()
        arch = Arch.parse(models[finished].content.decode())
        factor = self.factor(arch) if callable(self.factor) else self.factor
        for number in range(plan.max_rounds):
            self.asked[-1].rounds += 1
            ms = factor * predicted_ms(arch) * (1 + self.noise * (number * GOLDEN % 1))
            visits = {name: Visit(1.0, SENTINEL_MS) for name in earlier}
            if not (self.unfinished and number % 2):
                visits[finished] = Visit(ms, SENTINEL_MS)
            yield Round(visits, frozenset(models))


@dataclass
class Judge:
    """Evaluates nothing: accuracy is what an architecture is predicted to take, in per mille."""

    known: dict = field(default_factory=dict)

    def subnet(self, arch: Arch) -> Arch:
        return arch

    def test_accuracy(self, exported: Exported) -> float:
        return float(exported.max_difference)


@dataclass
class Searches:
    """In place of the search: the largest architecture within the limits; notes what was asked."""

    asked: list = field(default_factory=list)
    evaluates: int = 0  # subnets, in each search
    rows: np.ndarray = field(default_factory=lambda: ROWS)

    def __call__(self, space, constraints, judge, *, seed, excluded, evaluations, **_) -> BestSubnet:
        limits_ms = [constraint.limit for constraint in constraints.all]
        self.asked.append(SimpleNamespace(limits_ms=limits_ms, excluded=list(excluded), left=evaluations, seed=seed))
        judge.known.update({(len(self.asked), number): 0.5 for number in range(self.evaluates)})
        met = [row for row in self.rows if constraints.met(row[None])[0] and space.arch(row) not in excluded]
        if not met:
            raise InfeasibleError("nothing is left", LEAST_MS)
        best = max((space.arch(row) for row in met), key=predicted_ms)
        return BestSubnet(best, predicted_ms(best) / 1000, 7, None)


@pytest.fixture
def searches(monkeypatch) -> Searches:
    found = Searches()
    monkeypatch.setattr(specialize, "best_subnet", found)
    monkeypatch.setattr(specialize, "FINAL_PLAN", PLAN)
    monkeypatch.setattr(specialize, "latency_model", lambda *_, **__: MODEL)
    monkeypatch.setattr(specialize.formats, "names", lambda: ("onnx", "other", "third"))
    return found


@pytest.fixture
def exports(monkeypatch) -> list[tuple[str, Arch]]:
    """What was exported; the format `other` cannot be written here."""
    made: list[tuple[str, Arch]] = []

    def export(net, format, dataset, form, batch) -> Exported:
        if format == "other":
            raise DeviceError("no writer")
        made.append((format, net))
        return Exported(ModelFile(format, str(net).encode()), 0.25, 16)

    monkeypatch.setattr(specialize, "export_proven", export)
    return made


@pytest.fixture
def benches() -> dict[str, Bench]:
    return {"host": Bench(Device(name="host", runtime="fake"))}


@pytest.fixture
def specialiser(tmp_path, searches, exports, benches):
    def build(limits: Limits = Limits(), **options) -> Specialiser:  # noqa: B008
        targets = {}
        for name, bench in benches.items():
            table = LatencyTable.open(tmp_path / f"{name}.jsonl", name, HERE)
            table.add_round(Round({"block": Visit(1.0, SENTINEL_MS)}, frozenset()))
            targets[name] = Target(table, bench)
        return Specialiser(space=SPACE, targets=targets, evaluator=Judge(), dataset=None, limits=limits, **options)

    return build


def shares(searches: Searches) -> list[float]:
    """What was asked of the first device's predictions, in budgets."""
    return [asked.limits_ms[0] / BUDGET_MS for asked in searches.asked]


def test_at_first_a_standard_deviation_of_the_predictions_is_left_as_room(specialiser, searches):
    found = specialiser().specialise({"host": BUDGET_MS})
    assert shares(searches)[0] == pytest.approx(1 / (1 + MODEL.calibration.spread_pct / 100))
    assert found.kept["host"].predicted_ms == predicted_ms(found.arch) <= searches.asked[0].limits_ms[0]


def test_room_is_never_left_below_the_least_that_is_attainable(specialiser, searches):
    budget_ms = LEAST_MS * 1.001
    found = specialiser().specialise({"host": budget_ms})
    assert searches.asked[0].limits_ms == [LEAST_MS] and found.kept["host"].measurement.latency_ms <= budget_ms


def test_a_budget_below_the_least_is_asked_for_as_it_is(specialiser, searches):
    with pytest.raises(InfeasibleError):
        specialiser().specialise({"host": 0.9 * LEAST_MS})
    assert searches.asked[0].limits_ms == [0.9 * LEAST_MS]


def test_at_a_confidence_the_budget_is_asked_for_and_never_more(specialiser, searches, benches):
    benches["host"].factor = 0.5  # which makes room for twice as much, but not at that confidence
    worker = specialiser(Limits(confidence_pct=90.0))
    found = worker.specialise({"host": BUDGET_MS})
    assert shares(searches) == [1.0, 1.0]
    upper = MODEL.upper(90.0)
    assert float(upper(SPACE.row(found.arch)[None])[0]) <= BUDGET_MS and found.attempts == 1


def test_what_the_candidates_took_decides_what_is_asked_for_next(specialiser, searches, benches):
    benches["host"].factor = 0.8
    found = specialiser().specialise({"host": BUDGET_MS})
    assert shares(searches)[1] == pytest.approx(AIM / 0.8)
    assert found.attempts == 2 and ENOUGH <= found.kept["host"].use <= 1


@pytest.mark.parametrize(("share", "attempts"), [(0.9, 1), (0.9 - 1e-6, 2)])
def test_nine_tenths_of_the_budget_are_enough_and_less_is_not(specialiser, searches, benches, share, attempts):
    benches["host"].factor = lambda arch: shown.setdefault(
        arch, 0.99 if shown else share * BUDGET_MS / predicted_ms(arch)
    )
    shown = {}
    found = specialiser().specialise({"host": BUDGET_MS})
    assert len(searches.asked) == attempts and found.attempts == len(shown)


def test_where_the_budget_excludes_nothing_the_first_that_keeps_it_is_taken(specialiser, searches):
    found = specialiser().specialise({"host": 2 * GREATEST_MS})
    assert len(searches.asked) == found.attempts == 1 and found.kept["host"].use < ENOUGH
    assert predicted_ms(found.arch) == pytest.approx(GREATEST_MS)


def test_another_limit_that_excludes_something_does_not_end_the_search_nor_go_on_with_it(specialiser, searches):
    found = specialiser(Limits(macs=0.5e6)).specialise({"host": 2 * GREATEST_MS})
    assert len(searches.asked) == found.attempts == 1


def test_what_missed_the_budget_is_not_found_again_and_what_kept_it_may_be(specialiser, searches, benches):
    benches["host"].factor = 1.3
    found = specialiser().specialise({"host": BUDGET_MS})
    missed = [asked.excluded for asked in searches.asked]
    assert missed[0] == [] and len(missed[1]) == 1 and found.arch not in missed[-1]
    assert found.attempts == 2 and found.kept["host"].use <= 1


def test_a_candidate_that_comes_again_ends_the_search(specialiser, searches):
    """It kept its budget, and nothing better is expected to."""
    searches.rows = np.stack([SPACE.row(SPACE.smallest), SPACE.row(SPACE.largest)])
    found = specialiser().specialise({"host": 1.5 * LEAST_MS})
    assert found.arch == SPACE.smallest and found.attempts == 1 and len(searches.asked) == 2


def test_no_more_candidates_are_measured_than_allowed_and_none_is_handed_over_if_all_missed(
    specialiser, searches, benches, exports
):
    def took_ms(arch: Arch) -> float:
        return 1.01 * BUDGET_MS * (1 + predicted_ms(arch) / 10)

    benches["host"].factor = lambda arch: took_ms(arch) / predicted_ms(arch)
    with pytest.raises(UntrustedError, match=f"^{ATTEMPTS} candidates were measured and none kept") as refused:
        specialiser().specialise({"host": BUDGET_MS})
    assert len(searches.asked) == len(exports) == ATTEMPTS
    fastest = min(took_ms(arch) for _, arch in exports)
    assert f"the fastest took up to {fastest:.4g} ms on host" in str(refused.value)


def test_where_nothing_is_left_after_a_miss_what_was_measured_decides(specialiser, searches, benches):
    """The smallest net is all the budget lets through: after its miss there is nothing, and no other error."""
    benches["host"].factor = 2.0
    with pytest.raises(UntrustedError, match=r"^1 candidate was measured"):
        specialiser().specialise({"host": LEAST_MS * 1.0001})


def test_of_those_that_kept_the_budget_the_most_accurate_is_handed_over(specialiser, searches, benches):
    """Which is not the last one here, nor the fastest, nor the one that takes most of the budget."""
    ordered = iter([0.7, 0.85, 0.75])
    script, taken = {}, []

    def factor(arch):
        if arch not in script:
            script[arch] = next(ordered, 1.2) * BUDGET_MS / predicted_ms(arch)
            taken.append(arch)
        return script[arch]

    benches["host"].factor = factor
    found = specialiser().specialise({"host": BUDGET_MS})
    keeping = [arch for arch in taken if script[arch] * predicted_ms(arch) <= BUDGET_MS]
    assert found.arch == max(keeping, key=predicted_ms) and found.validation_accuracy == predicted_ms(found.arch) / 1000
    assert found.attempts == len(taken) > 2


def test_evaluations_are_allowed_for_a_budget_and_not_for_each_search(specialiser, searches, benches):
    benches["host"].factor, searches.evaluates = 1.3, 10
    worker = specialiser(evaluations=25)
    worker.specialise({"host": BUDGET_MS})
    assert [asked.left for asked in searches.asked] == [25, 15]
    worker.specialise({"host": 0.9 * BUDGET_MS})
    assert searches.asked[2].left == 25


def test_what_is_handed_over_is_the_measured_file_first_and_then_those_that_can_be_written(specialiser, exports):
    found = specialiser().specialise({"host": BUDGET_MS})
    assert [(model.format, model.content) for model in found.models] == [
        ("onnx", str(found.arch).encode()),
        ("third", str(found.arch).encode()),
    ]
    blocks = SPACE.layers(found.arch).values()
    assert (found.macs, found.params) == (sum(b.macs for b in blocks), sum(b.params for b in blocks))
    assert (found.accuracy, found.max_difference, found.evaluations) == (0.25, 0.25, 7 * found.attempts)


def test_a_net_for_two_devices_keeps_each_budget_and_is_told_by_device(specialiser, searches, benches):
    benches["twin"] = Bench(Device(name="twin", runtime="fake"), factor=1.5)
    budgets = {"host": BUDGET_MS, "twin": 1.2 * BUDGET_MS}
    found = specialiser().specialise(budgets)
    facts = found.facts()
    assert facts["device"] == "host" and [one["device"] for one in facts["devices"]] == ["host", "twin"]
    for name, one in zip(budgets, facts["devices"], strict=True):
        assert one["budget_ms"] == budgets[name] >= one["interval_ms"][1] == budgets[name] * one["budget_use"]
    assert facts["budget_use"] == facts["devices"][0]["budget_use"] < facts["devices"][1]["budget_use"]
    assert "devices" not in replace(found, kept={"host": found.kept["host"]}).facts()


def test_a_budget_that_excludes_nothing_on_one_device_leaves_the_others_to_be_used(specialiser, searches, benches):
    benches["twin"] = Bench(Device(name="twin", runtime="fake"), factor=0.8)
    found = specialiser().specialise({"host": 2 * GREATEST_MS, "twin": BUDGET_MS})
    assert found.attempts == len(searches.asked) == 2 and found.kept["twin"].use >= ENOUGH


def test_what_a_candidate_means_for_the_search_is_told_as_it_goes_on(specialiser, benches):
    told, shown = [], iter([1.2, 0.7, 0.95])
    factors = {}
    benches["host"].factor = lambda arch: factors.setdefault(arch, next(shown) * BUDGET_MS / predicted_ms(arch))
    specialiser(
        report=lambda what, share, text: told.append((share, text)) if what == "candidates" else None
    ).specialise({"host": BUDGET_MS})
    assert told == [
        (1 / ATTEMPTS, "candidate 1 takes up to 120 % of the budget: smaller ones are looked for"),
        (2 / ATTEMPTS, "candidate 2 takes up to 70 % of the budget: it is kept, and larger ones are looked for"),
        (3 / ATTEMPTS, "candidate 3 takes up to 95 % of the budget: it is kept"),
        (1.0, "3 measured"),
    ]


@pytest.mark.parametrize(("options", "needed"), [({}, None), ({"available": True}, ())])
def test_blocks_without_a_time_are_done_without_only_where_that_is_asked_for(specialiser, monkeypatch, options, needed):
    asked = []
    monkeypatch.setattr(specialize, "latency_model", lambda *_, needed: asked.append(needed) or MODEL)
    specialiser(**options).specialise({"host": BUDGET_MS})
    assert set(asked) == {needed}


def test_a_search_is_repeated_with_the_seed_it_was_given(specialiser, searches):
    specialiser(seed=5).specialise({"host": BUDGET_MS})
    specialiser().specialise({"host": BUDGET_MS})
    assert [asked.seed for asked in searches.asked] == [5, 0]


# How a candidate is measured


def with_nets(worker: Specialiser, count: int) -> list[str]:
    """Calibration nets of the space, one of another space, and one that was never visited."""
    table = worker.targets["host"].table
    names = [f"net {SPACE.arch(row)}" for row in ROWS[:count]]
    for name, row in zip(names, ROWS, strict=False):
        table.add_net(name, SPACE.layers(SPACE.arch(row)).values())
        table.add_round(Round({name: Visit(1.0, SENTINEL_MS)}, frozenset()))
    table.add_net("net foreign:1", [Block.parse(SPACE.vocabulary[0].key)])
    return names


def test_a_dozen_calibration_nets_of_the_space_are_visited_in_turn_with_a_candidate(specialiser, benches):
    worker = specialiser()
    names = with_nets(worker, 20)
    found = worker.specialise({"host": BUDGET_MS})
    asked, name = benches["host"].asked[0], f"net {found.arch}"
    assert list(asked.models) == [name, *[n for n in names if n != name][: specialize.COMPANY]]
    assert asked.earlier == dict.fromkeys(list(asked.models)[1:], 1)
    assert asked.models[name].content == str(found.arch).encode() and asked.models[names[0]].content == b"calibration"
    assert asked.plan is PLAN and asked.calm_ms == SENTINEL_MS


def test_rounds_end_when_the_candidates_interval_is_narrow_and_all_of_them_are_kept(specialiser, benches):
    worker = specialiser()
    told = []
    found = replace(worker, report=lambda *what: told.append(what)).specialise({"host": BUDGET_MS})
    table, name = LatencyTable.read(worker.targets["host"].table.path), f"net {found.arch}"
    assert benches["host"].asked[0].rounds == len(table.visits[name]) == PLAN.min_samples
    assert found.kept["host"].measurement.converged(PLAN) and table.nets[name]
    assert [state["load"] for state in table.states][:2] == [0.0, 1.0]
    measured = [done for what, done, _ in told if what == "measure"]
    assert measured[:2] == [0.5, 0.99] and measured[-1] == 1.0


def test_where_the_interval_stays_wide_all_rounds_are_made_and_the_raw_time_is_the_median_of_all(specialiser, benches):
    benches["host"].noise = 0.2
    found = specialiser().specialise({"host": BUDGET_MS})
    kept = found.kept["host"]
    assert benches["host"].asked[0].rounds == PLAN.max_rounds
    assert kept.raw_ms == pytest.approx(1.1 * predicted_ms(found.arch), rel=0.01)
    assert kept.measurement.calm_visits == PLAN.max_rounds
    assert kept.measurement.latency_ms == pytest.approx(1.05 * predicted_ms(found.arch), rel=0.01)


def test_nobody_else_writes_to_the_table_while_a_candidate_is_measured(specialiser, benches):
    worker, refused = specialiser(), []

    def factor(_: Arch) -> float:
        with pytest.raises(InvalidInputError, match="being written by another"):
            LatencyTable.read(worker.targets["host"].table.path).writing().__enter__()
        refused.append(True)
        return 1.0

    benches["host"].factor = factor
    worker.specialise({"host": BUDGET_MS})
    with LatencyTable.read(worker.targets["host"].table.path).writing():
        assert refused


def test_a_round_that_did_not_come_to_the_candidate_says_nothing_of_it(specialiser, benches):
    benches["host"].unfinished = True
    worker = specialiser()
    with_nets(worker, 2)
    found = worker.specialise({"host": BUDGET_MS})
    assert found.kept["host"].measurement.calm_visits == PLAN.min_samples
    assert benches["host"].asked[0].rounds == 2 * PLAN.min_samples - 1


def test_a_net_for_several_devices_needs_one_form_and_one_batch_on_all():
    plain, twin = Device(name="a", runtime="fake"), Device(name="b", runtime="fake", threads=2)
    check_alike({"a": plain, "b": twin})
    for other in (replace(twin, batch=2), replace(twin, hswish="split")):
        with pytest.raises(InvalidInputError, match="a fp32 batch 1, b fp32 batch"):
            check_alike({"a": plain, "b": other})
