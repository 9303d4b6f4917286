"""`hwnas search` on published tables and a published predictor: no device, no supernet, every limit hard."""

import json
import re

import numpy as np
import pytest

from hwnas.published import read_net
from hwnas.search import algorithms
from hwnas.search.accuracy import open_accuracy
from hwnas.spaces import open_space
from lut.table import LatencyTable

SIZES = "160,192,224"
SPACE = open_space("ofa-mbv3@1.2", resolutions=(160, 192, 224))
WHERE = ("--device", "note10", "--space", "ofa-mbv3@1.2")
FEW = ("--evaluations", 600)
KEYS = {
    "arch", "resolution", "device", "budget_ms", "predicted_ms", "macs", "params", "peak_activation_bytes", "accuracy",
    "accuracy_of", "seconds", "evaluations",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture(scope="module")
def place(shared_data, tmp_path_factory):
    """A workspace with the published table under two names, one of them half as fast."""
    from hwnas.cli import main

    folder = tmp_path_factory.mktemp("published")
    files = [shared_data / "ofa_note10" / f"{hw}_lookup_table.yaml" for hw in SPACE.resolutions]
    for device in ("note10", "slow"):
        assert main(["table", "import", "--device", device, "--workspace", str(folder), *map(str, files)]) == 0
    slow = folder / "tables" / "slow-published.jsonl"
    lines = [json.loads(line) for line in slow.read_text().splitlines()]
    for line in lines[1:]:
        line["published"]["ms"] *= 2
    slow.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def search(hwnas, place, shared_data, tmp_path):
    """How to search with the published predictor, in a workspace of its own."""
    workspace, predictor = tmp_path / "workspace", shared_data / "ofa_acc_predictor.npz"
    (workspace / "tables").mkdir(parents=True)
    for table in (place / "tables").glob("*.jsonl"):
        (workspace / "tables" / table.name).write_bytes(table.read_bytes())
    return lambda *what: hwnas("search", *WHERE, "--accuracy", predictor, *what, "--workspace", workspace)


def facts(arch):
    return list(SPACE.layers(SPACE.parse(arch)).values())


def test_what_is_told_of_an_architecture_is_so(search, shared_data, place):
    done = search("--resolution", SIZES, "--latency", "25ms", "--seed", 1, *FEW, "--json")
    found = done.only
    assert done.code == 0 and set(found) == KEYS and found["evaluations"] <= 600
    blocks, row = facts(found["arch"]), SPACE.row(SPACE.parse(found["arch"]))[None]
    assert found["macs"] == sum(block.macs for block in blocks)
    assert found["params"] == sum(block.params for block in blocks)
    assert found["peak_activation_bytes"] == max(block.peak_activation_bytes for block in blocks)
    assert found["resolution"] == blocks[0].hw
    table = LatencyTable.read(place / "tables" / "note10-published.jsonl")
    assert found["predicted_ms"] == pytest.approx(table.latency_ms(blocks), rel=1e-12) and found["predicted_ms"] <= 25
    accuracy = open_accuracy(shared_data / "ofa_acc_predictor.npz", SPACE)(row)[0]
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-9)


def test_the_published_net_of_that_latency_is_beaten(search, shared_data):
    """Once-for-all's own net for 30 ms, judged by its own table and predictor."""
    (path,) = (shared_data / "ofa_published").glob("note10_lat-30ms*.json")
    theirs = read_net(path, SPACE)
    model = open_accuracy(shared_data / "ofa_acc_predictor.npz", SPACE)
    done = search("--resolution", SIZES, "--latency", "29.97ms", "--evaluations", 4000, "--json")
    assert done.only["accuracy"] > model(SPACE.row(theirs)[None])[0] + 0.003


def test_the_same_seed_finds_the_same_and_another_run_goes_on_from_its_log(search, tmp_path):
    ask = ("--resolution", "160", "--latency", "15ms", "--seed", 3, *FEW, "--json")
    first = search(*ask).only
    (log,) = (tmp_path / "workspace" / "searches").glob("*.jsonl")
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[: len(lines) // 2]))  # as kill -9 leaves it
    again = search(*ask).only
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in first.items() if k != "seconds"}
    assert log.read_bytes() == whole


def test_several_budgets_are_answered_by_one_command_and_looser_ones_are_no_worse(search):
    done = search("--resolution", SIZES, "--latency", "15ms,20ms,40ms", *FEW, "--json")
    assert [found["budget_ms"] for found in done.json] == [15, 20, 40]
    accuracies = [found["accuracy"] for found in done.json]
    assert accuracies == sorted(accuracies)
    assert all(found["predicted_ms"] <= found["budget_ms"] for found in done.json)


def test_one_net_keeps_its_budget_on_each_of_several_devices(search):
    done = search("--resolution", "160", "--latency", "note10=30ms,slow=32ms", *FEW, "--json")
    one, other = done.only["devices"]
    assert (one["device"], other["device"]) == ("note10", "slow")
    assert other["predicted_ms"] == pytest.approx(2 * one["predicted_ms"], rel=1e-5) and other["predicted_ms"] <= 32


def test_all_limits_hold_together(search):
    asked = ("--latency", "30ms", "--macs", "200M", "--params", "5M", "--memory", "4MB", "--file-size", "19MB")
    done = search("--resolution", SIZES, *asked, *FEW, "--json")
    found = done.only
    assert done.code == 0 and found["macs"] <= 200e6 and found["params"] <= 5e6
    assert found["peak_activation_bytes"] <= 4e6 and found["predicted_ms"] <= 30


@pytest.mark.parametrize("algorithm", algorithms.names())
def test_every_algorithm_can_be_asked_for(search, algorithm):
    done = search("--resolution", "160", "--latency", "13ms", "--algorithm", algorithm, *FEW, "--json")
    assert done.code == 0 and done.only["predicted_ms"] <= 13


def test_an_exact_search_says_what_is_certain(search):
    found = search("--resolution", "160", "--latency", "14ms", "--algorithm", "exact", *FEW, "--json").only
    assert found["gap"] == pytest.approx(0, abs=1e-9) and found["surrogate_error"] < 0.01
    assert found["surrogate_bound"] == pytest.approx(found["surrogate_optimum"])


def test_a_front_holds_nothing_that_another_point_beats(search):
    found = search("--resolution", "160", "--latency", "18ms", "--algorithm", "nsga2", *FEW, "--json").only
    costs, scores = ([point[key] for point in found["front"]] for key in ("cost", "score"))
    assert len(costs) > 3 and costs == sorted(set(costs)) and scores == sorted(set(scores)) and costs[-1] <= 18
    assert scores[-1] == found["accuracy"]


def test_few_nets_cover_many_budgets_where_some_accuracy_may_be_lost(search):
    ask = ("--resolution", "160", "--latency", "14ms,14.5ms,15ms", *FEW, "--json")
    apart, together = search(*ask).json, search(*ask, "--max-loss", 5).json
    assert len({found["arch"] for found in together}) == 1
    for own, shared in zip(apart, together, strict=True):
        assert shared["predicted_ms"] <= shared["budget_ms"] and own["accuracy"] - shared["accuracy"] <= 0.05


def test_without_any_accuracy_the_largest_net_is_found_and_said_to_be_that(hwnas, place):
    done = hwnas("search", *WHERE, "--latency", "30ms", *FEW, "--workspace", place, "--json")
    assert done.code == 0 and done.only["accuracy"] is None and done.only["accuracy_of"] == "MACs"
    assert "no accuracy is known" in done.err and done.only["macs"] > 300e6


def test_no_latency_and_no_device_are_needed_where_something_else_is_limited(search):
    done = search("--resolution", "160", "--macs", "150M", *FEW, "--json")
    assert done.code == 0 and done.only["macs"] <= 150e6 and "predicted_ms" not in done.only


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("--latency", "3ms"), 6, r"a latency on note10 of at most 3 ms: the least attainable is 9.9\d+ ms"),
        (("--latency", "30ms", "--macs", "90M"), 6, "MACs of at most 90 M: the least attainable is 100.4 M; allow"),
        ((), 3, "nothing limits the search: give --latency"),
        (("--latency", "30ms", "--macs", "many"), 3, "'many' is no count"),
        (("--latency", "30ms", "--memory", "3 apples"), 3, "'3 apples' is no size"),
        (("--latency", "note10=3ms,5ms"), 3, "is no budget: give several for one device"),
        (("--latency", "note10=30ms,note10=40ms"), 3, "is no budget"),
        (("--latency", "30ms", "--confidence", "95"), 3, "leave out the confidence"),
        (("--latency", "30ms", "--resolution", "176"), 3, "import the file of the resolution that lacks"),
        (("--latency", "30ms", "--algorithm", "magic"), 3, "unknown search algorithm 'magic'"),
        (("--latency", "elsewhere=30ms"), 3, "unknown device 'elsewhere'"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(search, asked, code, said):
    sizes = () if "--resolution" in asked else ("--resolution", SIZES)
    done = search(*sizes, *asked)
    assert done.code == code
    assert re.search(said, done.complaint)


def test_a_limit_that_excludes_nothing_is_said_to(search):
    done = search("--resolution", "160", "--latency", "80ms", *FEW)
    assert done.code == 0 and "that limit excludes nothing" in done.err


@pytest.mark.parametrize("limit", [("--latency", "1ms"), ("--macs", "3M")])
def test_a_predictor_of_another_space_is_refused_naming_both(search, limit):
    done = search(*limit, "--space", "digits")
    assert done.code == 3 and "ofa-mbv3@1.2" in done.complaint and "digits" in done.complaint


def test_a_table_of_another_space_is_refused_naming_what_it_lacks(hwnas, place):
    asked = ("--device", "note10", "--space", "digits", "--latency", "1ms")
    done = hwnas("search", *asked, "--workspace", place)
    assert done.code == 3 and "lacks" in done.complaint


def test_nothing_can_be_specialised_for_a_published_table(hwnas, place):
    done = hwnas("specialize", *WHERE, "--latency", "30ms", "--workspace", place)
    assert done.code == 3 and "note10 is known from a published table only" in done.refusal


def test_random_search_is_worse_than_evolution_on_the_same_evaluations(search):
    ask = ("--resolution", SIZES, "--latency", "25ms", "--evaluations", 3000, "--json")
    found = [search(*ask, "--algorithm", name).only["accuracy"] for name in ("evolution", "random")]
    assert found[0] > found[1] + 0.005 and np.isfinite(found).all()
