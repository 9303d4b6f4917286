"""A device that somebody else was using while it was profiled: seen, said, and mended by the same commands."""

import json

import numpy as np
import pytest

from hwnas.cli.results import show_profiles
from hwnas.pricing import latency_model
from hwnas.profiling import stolen_s
from hwnas.spaces import open_space
from lut.table import LatencyTable
from profilers.measurement import PLANS

FAKE = ("--runtime", "fake")
DIGITS = open_space("digits")

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


@pytest.fixture
def slowed(table):
    """The table as if it had been made while all took twice as long, the sentinel, too."""
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    for line in lines:
        for visit in line.get("round", {}).values():
            visit[:2] = [2 * visit[0], 2 * visit[1]]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return table


def test_a_table_of_a_disturbed_device_is_found_out_and_measured_again(hwnas, workspace, slowed, model):
    assert LatencyTable.read(slowed).pending([b.key for b in DIGITS.vocabulary], PLANS["default"]) == []
    least_ms, _ = latency_model(LatencyTable.read(slowed), DIGITS).least()
    where = (*FAKE, "--workspace", workspace)
    ask = ("specialize", "--latency", f"{1.3 * least_ms:.4f}ms", *where, "--json")
    first = hwnas(*ask)
    assert first.code == 0 and "times faster than while it was profiled" in first.err
    assert first.only["measured_ms"] == pytest.approx(first.only["predicted_ms"] / 2, rel=0.05)

    checked = hwnas("table", "check", *where, "--json").json
    assert len(checked["unconverged"]) == len(DIGITS.vocabulary)
    shown = {entry["name"]: entry for entry in hwnas("table", "show", *where, "--json").json}
    assert all(shown[block.key]["calm_visits"] == 0 for block in DIGITS.vocabulary)

    profiled = hwnas("profile", *where, "--json").only
    assert profiled["measured_models"] >= len(DIGITS.vocabulary) and profiled["unconverged"] == []
    second = hwnas(*ask)
    assert second.code == 0 and "times faster" not in second.err
    assert second.only["measured_ms"] == pytest.approx(second.only["predicted_ms"], rel=0.05)
    rows = DIGITS.sample(20, np.random.default_rng(0))
    mended = latency_model(LatencyTable.read(slowed), DIGITS).latency_ms(rows)
    assert mended == pytest.approx(model.latency_ms(rows), rel=0.03)


@pytest.mark.parametrize(
    ("told", "stolen"),
    [
        ([], 0.0), ([{"load": 1.0}], 0.0), ([{"stolen_s": 10.0}], 0.0),
        ([{"stolen_s": 10.0}, {"stolen_s": 13.0}, {"load": 1.0}, {"stolen_s": 20.5}], 10.5),
        ([{"stolen_s": 10.0}, {"stolen_s": 1.0}], 0.0),  # the device began anew meanwhile
    ],
)  # fmt: skip
def test_time_that_a_hypervisor_took_is_that_between_the_first_and_the_last_state(told, stolen) -> None:
    assert stolen_s(told) == stolen


@pytest.mark.parametrize(("taken_s", "said"), [(0.0, False), (4.0, False), (6.0, True)])
def test_a_profile_during_which_a_hypervisor_took_much_time_says_so(capsys, taken_s, said):
    facts = {"device": "toy", "space": "digits", "blocks": 1, "models": 1, "unconverged": [], "target_pct": 1.0,
             "calm_pct": 90.0, "calibration_mean_error_pct": 1.0, "calibration_max_error_pct": 2.0}  # fmt: skip
    show_profiles([facts | {"stolen_s": taken_s, "seconds": 100.0}])
    assert ("a hypervisor gave" in capsys.readouterr().err) == said
