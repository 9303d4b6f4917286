"""Specialising: the device has the last word, and a prediction that is wrong costs measurements, not the budget."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.search.accuracy.ridge import Ridge
from hwnas.search.correction import AIM, Outcome, corrected_ms
from hwnas.spaces import open_space
from hwnas.specialize import ATTEMPTS
from profilers.backends import fake
from profilers.measurement import Plan

DIGITS = open_space("digits")
FAKE = ("--runtime", "fake", "--no-auto", "--json")

pytestmark = pytest.mark.usefixtures("few_images", "no_settings", "larger_is_better")


@pytest.fixture
def larger_is_better(monkeypatch):
    """Accuracies that follow from MACs alone and cost nothing; files are made, but compared on few images."""

    def judge(evaluator, archs):
        for arch in archs:
            evaluator.known[arch] = sum(block.macs for block in DIGITS.layers(arch).values()) / 1e7
            yield arch, evaluator.known[arch]

    monkeypatch.setattr("hwnas.training.evaluate.SubnetEvaluator.judge", judge)
    monkeypatch.setattr("hwnas.training.evaluate.SubnetEvaluator.test_accuracy", lambda *_: 0.5)
    monkeypatch.setattr("hwnas.training.evaluate.SubnetEvaluator._take_in", lambda _: None)
    monkeypatch.setattr("hwnas.specialize.COMPANY", 2)
    monkeypatch.setattr("hwnas.specialize.FINAL_PLAN", Plan(target_pct=0.5, min_samples=20, max_rounds=20))
    monkeypatch.setattr("hwnas.export.proven.PROVING_IMAGES", 1)
    monkeypatch.setattr("hwnas.search.subnets.PREDICTED", 1000)
    monkeypatch.setattr("hwnas.search.accuracy.predictor.KINDS", {"ridge": Ridge})
    monkeypatch.setattr("profilers.formats.names", lambda: ("onnx",))


@pytest.fixture
def deviating(monkeypatch, model):
    """Lets whole networks take a factor of what they should; the sentinel is as it is."""
    least, price = model.least()[0], fake.price_ms

    def deviate(factor):
        def wrong(content):
            ms = price(content)
            return ms if ms < 0.8 * least else ms * factor(ms, content)

        monkeypatch.setattr(fake, "price_ms", wrong)

    return deviate


@pytest.fixture
def budget_ms(model):
    """In the middle between the fastest and the largest network."""
    least, greatest = model.least()[0], model.cost.greatest()
    return round(least + 0.5 * (greatest - least), 4)


def specialize(hwnas, workspace, budget_ms, *more):
    done = hwnas("specialize", "--latency", f"{budget_ms}ms", *FAKE, *more, "--workspace", workspace)
    assert done.code == 0, done.err
    found = done.only
    assert found["interval_ms"][1] <= found["budget_ms"]
    assert found["budget_use"] == pytest.approx(found["interval_ms"][1] / found["budget_ms"])
    assert json.loads((Path(found["bundle"]) / "bundle.json").read_text())["budget_use"] == found["budget_use"]
    return found


def test_where_the_prediction_is_right_one_candidate_takes_most_of_the_budget(hwnas, workspace, budget_ms):
    assert specialize(hwnas, workspace, budget_ms)["budget_use"] > 0.8


def test_networks_that_are_faster_than_predicted_make_room_for_larger_ones(hwnas, workspace, budget_ms, deviating):
    deviating(lambda *_: 0.5)
    found = specialize(hwnas, workspace, budget_ms)
    assert found["budget_use"] > 0.7 and 1 < found["attempts"] <= ATTEMPTS


def test_a_miss_does_not_shrink_the_answer(hwnas, workspace, budget_ms, deviating):
    """Large networks take more than predicted, small ones less: the first candidate misses, the next is far below."""
    deviating(lambda ms, _: 1.45 if ms > 0.85 * budget_ms else 0.65)
    found = specialize(hwnas, workspace, budget_ms)
    smaller = 0.65 * 0.7  # of the budget: what one correction downwards comes to
    assert found["budget_use"] > 1.15 * smaller and found["attempts"] > 2


@pytest.mark.parametrize("seed", range(2))
def test_a_device_that_is_off_by_any_factor_never_gets_a_network_over_the_budget(
    hwnas, workspace, budget_ms, deviating, seed
):
    deviating(lambda _, content: 0.4 + 1.2 * hashlib.sha256(content + bytes([seed])).digest()[0] / 255)
    specialize(hwnas, workspace, budget_ms)


def test_a_device_on_which_everything_misses_is_told_with_the_fastest_that_was_measured(
    hwnas, workspace, budget_ms, deviating
):
    deviating(lambda *_: 5.0)
    done = hwnas("specialize", "--latency", f"{budget_ms}ms", *FAKE, "--workspace", workspace)
    assert done.code == 5 and "none kept" in done.complaint and "the fastest took up to" in done.complaint
    assert not (workspace / "bundles").exists()


def test_a_candidate_is_exported_once_for_all_devices(hwnas, workspace, budget_ms, monkeypatch):
    from hwnas import specialize as module

    exported, export = [], module.export_proven
    monkeypatch.setattr(module, "export_proven", lambda net, *how: exported.append(how[0]) or export(net, *how))
    found = specialize(hwnas, workspace, budget_ms)
    assert exported.count("onnx") == found["attempts"]


def test_a_network_of_what_is_available_does_not_replace_the_one_of_all_choices(hwnas, workspace, budget_ms, files):
    plain = Path(specialize(hwnas, workspace, budget_ms)["bundle"])
    before = files(plain)
    other = Path(specialize(hwnas, workspace, budget_ms, "--available")["bundle"])
    assert other != plain and files(plain) == before
    asked = [json.loads((folder / "bundle.json").read_text())["request"] for folder in (plain, other)]
    assert asked[0] | {"available": True} == asked[1] and asked[0] != asked[1]


@pytest.mark.parametrize("command", ["specialize", "search"])
def test_a_budget_out_of_reach_cancels_none_of_the_others(hwnas, workspace, budget_ms, model, command):
    latency = ("--latency", f"0.001ms,{budget_ms}ms,0.002ms", "--runtime", "fake", "--workspace", workspace)
    done = hwnas(command, *latency, "--json")
    first, found, third = done.json
    assert done.code == 6 and set(first) == {"device", "budget_ms", "error", "exit_code", "least_attainable"}
    assert (first["budget_ms"], third["budget_ms"], found["budget_ms"]) == (0.001, 0.002, budget_ms)
    assert first["exit_code"] == 6 and first["least_attainable"] == pytest.approx(model.least()[0])
    assert found["predicted_ms"] <= budget_ms and "error" not in found
    told = [line for line in done.err.splitlines() if line.startswith("hwnas: ")]
    assert len(told) == 2 and all("the least attainable is" in line for line in told)


def test_where_no_budget_is_in_reach_nothing_is_printed_and_the_loosest_is_told(hwnas, workspace):
    done = hwnas("specialize", "--latency", "0.001ms,0.002ms", *FAKE, "--workspace", workspace)
    assert done.code == 6 and "at most 0.002 ms" in done.refusal


ms = st.floats(0.01, 100)


@given(budget=ms, factor=st.floats(0.2, 5), predicted=st.lists(ms, min_size=1, max_size=5))
def test_where_predictions_are_off_by_one_factor_the_limit_is_right(budget, factor, predicted):
    outcomes = [Outcome(p, factor * p) for p in predicted]
    limit = corrected_ms(budget, outcomes)
    assert limit * factor <= budget * (1 + 1e-9)
    if all(factor * p <= AIM * budget or factor * p > budget for p in predicted):
        assert limit == pytest.approx(AIM * budget / factor)


def test_between_a_network_that_kept_the_budget_and_one_that_missed_it_the_limit_is_in_between():
    missed, kept = Outcome(280.0, 400.0), Outcome(190.0, 115.0)
    limits = [corrected_ms(280.0, found) for found in ([missed], [missed, kept])]
    assert limits[0] < 200 and 190 < limits[1] < 280


@pytest.mark.parametrize("predicted", [80.0, 100.0])
def test_a_miss_that_was_predicted_no_larger_than_what_kept_the_budget_holds_nothing_back(predicted):
    kept, odd = Outcome(100.0, 50.0), Outcome(predicted, 130.0)
    assert corrected_ms(100.0, [odd, kept]) == corrected_ms(100.0, [kept]) > 150


def test_of_all_that_was_measured_the_nearest_on_either_side_of_the_budget_count():
    near, far = [Outcome(150.0, 80.0), Outcome(300.0, 130.0)], [Outcome(100.0, 50.0), Outcome(500.0, 400.0)]
    for outcomes in (near + far, far + near):
        assert 150 < corrected_ms(100.0, outcomes) == corrected_ms(100.0, near) < 300


def test_a_network_that_takes_all_of_the_budget_has_kept_it():
    assert corrected_ms(100.0, [Outcome(50.0, 100.0), Outcome(60.0, 150.0)]) == 50


def test_a_miss_of_less_than_a_millisecond_teaches_as_one_of_more_does():
    assert corrected_ms(1.0, [Outcome(0.5, 2.0)]) == pytest.approx(AIM * 0.25)
