"""The native runner measures a batch as this machine's own profiler does."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx.parser import parse_model

from profilers.device import Device
from profilers.errors import DeviceError
from profilers.formats import ModelFile
from profilers.profiler import open_profiler
from profilers.runners import bundle

from .native_runs import (
    BLOCKS,
    ENDLESS,
    MACHINE,
    PLAN,
    TOKEN,
    answer,
    ask,
    detached,
    measured,
    needs_compiler,
    run,
    until,
)

pytestmark = needs_compiler


def test_every_model_is_visited_in_every_round_in_another_order_that_the_seed_decides(folder: Path) -> None:
    ask(folder, rounds=8)
    found = measured(folder)
    assert found.ended and not found.failed
    orders = [tuple(model for turn, model, _ in found.visits if turn == round) for round in range(8)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len(set(orders)) > 1
    (folder / "result").unlink()
    assert [visit[:2] for visit in measured(folder).visits] == [visit[:2] for visit in found.visits]


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_times_are_those_of_this_machines_own_profiler(folder: Path, clock: str) -> None:
    ask(folder, clock=clock, rounds=10)
    runner, local = (dict.fromkeys(BLOCKS, np.inf) for _ in range(2))
    for _, number, visit in measured(folder).visits:
        runner[number] = min(runner[number], visit.ms)
    with open_profiler(Device(name="host", clock=clock)) as profiler:
        models = {str(number): ModelFile("onnx", content) for number, content in BLOCKS.items()}
        for found in profiler.measure(models, replace(PLAN, max_rounds=10)):
            for number in BLOCKS:
                local[number] = min(local[number], found.visits[str(number)].ms)
    for number in BLOCKS:
        assert 0.5 < runner[number] / local[number] < 2


def test_the_runtime_is_the_one_that_the_bundle_was_made_of(folder: Path) -> None:
    import onnxruntime

    ask(folder)
    assert run("--version").stdout == f"hwnas-runner 1 onnxruntime {onnxruntime.__version__}\n"
    assert measured(folder).runtime == onnxruntime.__version__


OPEN_BATCH_OF_BYTES = """<ir_version: 9, opset_import: ["": 17]>
open (uint8[n, 8] x) => (float[n, 8] y) { y = Cast<to = 1>(x) }"""


def test_bytes_and_a_dimension_left_open_are_measured_too(folder: Path) -> None:
    ask(folder, {3: parse_model(OPEN_BATCH_OF_BYTES).SerializeToString()})
    assert len(measured(folder).visits) == 5


def test_a_batch_ends_after_its_time_with_one_visit_at_least(folder: Path) -> None:
    ask(folder, **{**ENDLESS, "seconds": 1e-6})
    found = measured(folder)
    assert found.ended and len(found.visits) == 1


def test_it_keeps_to_the_cpus_asked_for_or_else_the_last_ones(folder: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    for asked, kept in (((), {allowed[-1]}), ((allowed[0],), {allowed[0]})):
        ask(folder, cpus=asked, **ENDLESS)
        with detached(folder) as pid:
            until(lambda: answer(folder).visits)
            assert os.sched_getaffinity(pid) == kept
        (folder / "result").unlink()


def test_a_run_belongs_to_no_terminal_and_can_be_told_by_its_token(folder: Path) -> None:
    ask(folder, **ENDLESS)
    with detached(folder) as pid:
        assert os.getsid(pid) == pid != os.getsid(0)
        assert TOKEN.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        held = {Path(f"/proc/{pid}/fd/{number}").resolve() for number in range(3)}
        assert held == {Path("/dev/null"), folder / "log"}


def test_the_runner_compiles_without_a_warning(tmp_path: Path) -> None:
    strict = [*bundle.FLAGS, "-Wconversion", "-Wshadow", "-Wno-sign-conversion", "-Werror"]
    subprocess.run(["cc", *strict, bundle.SOURCES[0], "-o", tmp_path / "runner", "-ldl"], check=True)


@pytest.mark.slow
def test_an_emulated_arm_processor_measures_too(folder: Path) -> None:
    """In CPU time; without /sys, of whose x86 the library's look at the processor dies."""
    lacking = [name for name in ("aarch64-linux-gnu-gcc", "qemu-aarch64-static", "unshare") if not shutil.which(name)]
    if lacking or MACHINE == "aarch64" or os.geteuid() != 0:
        pytest.skip(f"needs root on another processor, and {lacking or 'nothing else'}")
    try:
        made = bundle.runner_bundle("aarch64")
    except DeviceError as error:
        pytest.skip(f"no runner for aarch64 can be built: {error}")
    ask(folder, clock="cpu")
    emulated = ["qemu-aarch64-static", *bundle.command("aarch64", str(made)), "--foreground", str(folder), TOKEN]
    hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /sys && exec "$@"', "sh", *emulated]
    subprocess.run(hidden, check=True, capture_output=True, timeout=120)
    found = answer(folder)
    assert found.ended and len(found.visits) == 3 * 5
    assert not any(visit.preempted for _, _, visit in found.visits)  # by the CPU's clock nothing is lost
