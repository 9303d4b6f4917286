"""Profiling fills a table with what a space needs, whatever the runtime and the precision."""

from contextlib import suppress

import numpy as np
import pytest

from hwnas.pricing import latency_model, net_name
from hwnas.profiling import CALIBRATION_NETS, profile
from hwnas.spaces import open_space
from lut.table import LatencyTable
from profilers import backends
from profilers.device import Device
from profilers.errors import DeviceError, UntrustedError
from profilers.measurement import Plan
from profilers.profiler import open_profiler

from ..kit import TINY

TWO_ROUNDS = Plan(target_pct=1000.0, min_samples=1, max_rounds=2, warmup_runs=1)
SPACE = open_space("digits@0.25", resolutions=(16,))
SLOW = {"openvino": pytest.mark.slow}  # it compiles each model for as long as others measure it
FORMS = [
    pytest.param(name, precision, marks=SLOW.get(name, ()))
    for name in backends.names() if name != "fake" for precision in backends.load(name).PRECISIONS
]  # fmt: skip


def begin(folder, device, profiler):
    return LatencyTable.open(folder / "table.jsonl", device.name, profiler.fingerprint())


@pytest.mark.parametrize(("runtime", "precision"), FORMS)
def test_a_table_holds_a_spaces_blocks_and_says_what_they_were_measured_with(tmp_path, runtime, precision):
    device = Device(name="any", runtime=runtime, precision=precision)
    try:
        backends.load(runtime).version()
    except DeviceError as error:
        pytest.skip(str(error))
    with open_profiler(device) as profiler, suppress(UntrustedError):  # two rounds may not do for a calibration
        profile(TINY, profiler, begin(tmp_path, device, profiler), TWO_ROUNDS)
    table = LatencyTable.read(tmp_path / "table.jsonl")
    assert not table.missing(TINY.vocabulary) and set(table.blocks()) == set(TINY.vocabulary)
    assert len(table.nets) == CALIBRATION_NETS and set(table.nets) <= set(table.visits)
    found = table.fingerprint
    assert (found.runtime, found.precision, found.batch, found.threads) == (runtime, precision, 1, 1)
    assert found.hswish == {"fp32": "fused", "int8": "split"}[precision]
    assert len(table.states) == 2 * 2  # before and after the blocks, before and after the nets


def test_a_profiled_fake_device_is_priced_as_its_formula_says(tmp_path):
    device = Device(name="toy", runtime="fake")
    with open_profiler(device) as profiler:
        table = begin(tmp_path, device, profiler)
        done = profile(SPACE, profiler, table, Plan(target_pct=1.0, warmup_runs=1))
    assert done.blocks == len(SPACE.vocabulary) and done.measured == done.blocks + CALIBRATION_NETS
    assert done.unconverged == () and done.calm_pct == 100
    assert done.calibration == table.calibration(net_name(SPACE.name))
    assert table.calibrations[net_name(SPACE.name)]["count"] == CALIBRATION_NETS
    model = latency_model(table, SPACE)
    rows = SPACE.sample(10, np.random.default_rng(0))
    assert model.latency_ms(rows).min() > 0 and done.calibration.max_error_pct < 2  # of a formula with noise of 1 %


def test_what_is_profiled_already_is_not_visited_again(tmp_path):
    device = Device(name="toy", runtime="fake")
    with open_profiler(device) as profiler:
        table = begin(tmp_path, device, profiler)
        profile(SPACE, profiler, table, Plan(target_pct=1.0, warmup_runs=1))
        before = {name: list(visits) for name, visits in table.visits.items()}
        again = profile(SPACE, profiler, begin(tmp_path, device, profiler), Plan(target_pct=1.0, warmup_runs=1))
    assert again.measured == 0 and LatencyTable.read(tmp_path / "table.jsonl").visits == before


def test_a_space_of_another_size_adds_to_the_table_what_lacks(tmp_path):
    device, plan = Device(name="toy", runtime="fake"), Plan(target_pct=1.0, warmup_runs=1)
    wider = open_space(SPACE.name, resolutions=(16, 24))
    with open_profiler(device) as profiler:
        table = begin(tmp_path, device, profiler)
        profile(SPACE, profiler, table, plan)
        known = {block.key: len(table.visits[block.key]) for block in SPACE.vocabulary}
        profile(wider, profiler, table, plan)
    assert not table.missing(wider.vocabulary)
    assert {key: len(table.visits[key]) for key in known} == known
