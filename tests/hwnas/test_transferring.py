"""A device is profiled like others: few nets are measured, and every block has a time that is marked as guessed."""

import json
import shutil

import numpy as np
import pytest

from hwnas.pricing import latency_model
from hwnas.spaces import open_space
from lut.blocks import chain
from lut.layers import random_weights
from lut.table import LatencyTable
from lut.transferred import Transferred
from profilers.backends.fake import price_ms
from profilers.errors import InvalidInputError
from profilers.formats import write

DIGITS = open_space("digits")
DEVICES = """
[twin]
runtime = "fake"
[other]
runtime = "fake"
"""

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def twin(hwnas, workspace, table):
    """How to profile a device like one that is known."""
    (workspace / "devices.toml").write_text(DEVICES)
    return lambda *what: hwnas("profile", "--device", "twin", "--like", table, *what, "--workspace", workspace)


def test_few_nets_give_every_block_a_time_that_says_where_it_is_from(hwnas, twin, workspace):
    done = twin("--samples", 6, "--json")
    assert done.code == 0 and (done.only["samples"], done.only["measured_models"]) == (6, 6)
    assert done.only["transferred_blocks"] == len(DIGITS.vocabulary)
    found = LatencyTable.read(workspace / "tables" / "twin-fake-fp32-t1-b1.jsonl")
    assert len(found.visits) == 6 and all(name.startswith("net digits:") for name in found.visits)
    model = latency_model(found, DIGITS)
    assert model.guessed == set(DIGITS.vocabulary)
    checked = hwnas("table", "check", "--device", "twin", "--workspace", workspace, "--json")
    assert not checked.json["missing"] and len(checked.json["transferred"]) == len(DIGITS.vocabulary)
    said = hwnas("search", "--device", "twin", "--latency", "1s", "--macs", "2M", "--workspace", workspace)
    assert said.code == 0 and f"twin: times of {len(DIGITS.vocabulary)} of {len(DIGITS.vocabulary)} blocks" in said.err


def test_a_device_like_the_source_is_priced_as_it_is(twin, workspace):
    assert twin("--samples", 10).code == 0
    model = latency_model(LatencyTable.read(workspace / "tables" / "twin-fake-fp32-t1-b1.jsonl"), DIGITS)
    rows, weights = DIGITS.sample(20, np.random.default_rng(5)), random_weights(np.random.default_rng(0))
    true = [
        price_ms(write(chain([(b, weights) for b in DIGITS.layers(DIGITS.arch(row)).values()]), "onnx").content)
        for row in rows
    ]
    np.testing.assert_allclose(model.latency_ms(rows), true, rtol=0.05)
    assert model.calibration.mean_error_pct < 5


def test_more_samples_go_on_from_those_that_were_measured(twin):
    first, second = twin("--samples", 5, "--json").only, twin("--samples", 9, "--json").only
    assert (first["measured_models"], second["samples"]) == (5, 9)
    assert 4 <= second["measured_models"] <= 9  # whatever nine nets tell most; some are among the first five


def test_what_is_measured_counts_instead_of_what_was_transferred(hwnas, twin, workspace):
    twin("--samples", 5)
    assert hwnas("profile", "--device", "twin", "--workspace", workspace).code == 0
    model = latency_model(LatencyTable.read(workspace / "tables" / "twin-fake-fp32-t1-b1.jsonl"), DIGITS)
    assert model.guessed == frozenset()


def test_a_device_is_not_its_own_source_and_sources_have_to_know_the_space(hwnas, twin, workspace, table):
    shutil.copy(table, workspace / "tables" / "twin-fake-fp32-t1-b1.jsonl")
    same = hwnas("profile", "--device", "twin", "--like", "twin", "--workspace", workspace)
    assert same.code == 3 and "twin is the table that is to be made" in same.refusal
    other = twin("--space", "digits@1.5")
    assert other.code == 3 and "lacks" in other.complaint


@pytest.mark.parametrize("samples", [-1, 0, 2])
def test_fewer_samples_than_tell_anything_are_refused(twin, samples):
    assert twin("--samples", samples).code == 2


def test_a_transferred_record_is_read_as_it_was_written_and_damage_is_refused():
    found = Transferred(("a", "b"), {DIGITS.vocabulary[0].key: 0.5}, (1.0, -2.0))
    assert Transferred.of(json.loads(json.dumps(found.record()))) == found
    with pytest.raises(ValueError, match="not above 0 ms"):
        Transferred.of({**found.record(), "ms": {"x": 0}})
    with pytest.raises(InvalidInputError, match="--samples"):
        assert Transferred(("a",), {}, ()).calibration
