"""Real arm64 code: the runner that is built here measures on an emulated phone without glibc, and on a board."""

from dataclasses import replace

import numpy as np
import pytest

from lut.blocks import MBConv, chain
from lut.layers import random_weights
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.measurement import Plan
from profilers.profiler import open_profiler
from profilers.runners.bundle import runner_bundle

SMALL = MBConv(in_chs=8, out_chs=8, hw=8, mid_chs=32, kernel=3, stride=1, se=False, act="relu")
PLAN = Plan(target_pct=3.0, min_samples=6, max_rounds=12, time_limit_s=10.0, warmup_runs=2)


@pytest.fixture(scope="session")
def arm_bundle() -> None:
    """Built before a test enters its network, in which there is no package index."""
    try:
        runner_bundle("aarch64")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["arm_phone", "arm_board"])
def connect(arm_bundle: None, request: pytest.FixtureRequest) -> str:
    """The address of an emulated device."""
    found = request.getfixturevalue(request.param)
    return f"adb://{found.serial}" if request.param == "arm_phone" else found.address


@pytest.mark.slow
@pytest.mark.adb
@pytest.mark.ssh
def test_an_arm_device_measures_by_its_own_cpu_time(connect: str) -> None:
    weights = random_weights(np.random.default_rng(0))
    blocks = {"kernel 3": SMALL, "kernel 7": replace(SMALL, kernel=7)}
    visits = {name: [] for name in blocks}
    with open_profiler(Device(name="arm", connect=connect, clock="cpu")) as profiler:
        assert profiler.fingerprint().machine.endswith("aarch64")
        models = {name: profiler.model(chain([(block, weights)]), inner=True) for name, block in blocks.items()}
        for found in profiler.measure(models, PLAN):
            for name, visit in found.visits.items():
                visits[name].append(visit)
    assert not any(visit.preempted for of_one in visits.values() for visit in of_one)  # whatever else runs here
    assert all(len(of_one) >= PLAN.min_samples for of_one in visits.values())
