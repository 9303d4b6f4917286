"""A phone spoils what it is given or asked: its disk is full, its runner dies, its answers are damaged, it gets hot."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lut.blocks import chain
from lut.layers import random_weights
from profilers.formats import write

from ..kit import TINY
from .lab import Phone
from .sabotage import CLOCK_GOES_BACK, DIES_OF_A_SIZE, mend, settle, tamper
from .scenes import ROUNDS, Scene, brief, scene

pytestmark = [pytest.mark.adb, pytest.mark.usefixtures("brief")]
__all__ = ["brief"]


@pytest.fixture
def on_phone(phone: Phone, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    """A phone that lets everybody in, ready to be profiled."""
    return scene(phone, tmp_path, capsys)


def answer_of(on_phone: Scene) -> Path:
    """The file that the runner is writing its answer to."""
    return max(on_phone.folder.glob("run-*/job*/result"), key=lambda path: path.stat().st_mtime)


def test_a_disk_too_full_for_the_runner_is_told_with_its_room(phone: Phone, on_phone: Scene) -> None:
    phone.fill(leave=20_000_000)
    full = on_phone.profile()
    assert (full.code, full.out) == (4, "")
    assert "does not take 33" in full.complaint and "No space left on device" in full.complaint
    assert "make room" in full.complaint and not on_phone.table_path.exists()
    phone.free()
    on_phone.assert_whole(on_phone.profile())


def test_a_disk_too_full_for_the_models_is_told_with_its_room(phone: Phone, on_phone: Scene) -> None:
    settle(on_phone)
    phone.fill(leave=30_000)
    full = on_phone.profile()
    assert (full.code, full.out) == (4, "")
    assert "does not take" in full.complaint and "No space left on device" in full.complaint
    on_phone.assert_nothing_left()
    phone.free()
    on_phone.assert_whole(on_phone.profile())


def fill_up(phone: Phone) -> None:
    """Leave nothing, though the runner takes from what is left at the same time."""
    while True:
        with suppress(OSError):
            return phone.fill()


def test_a_disk_that_fills_up_while_the_answer_is_written_loses_nothing_measured(phone: Phone, on_phone: Scene) -> None:
    with on_phone.in_mid_run(lambda: fill_up(phone)):
        full = on_phone.profile()
    assert (full.code, full.out) == (4, "")
    assert "No space left on device" in full.complaint
    phone.free()
    on_phone.assert_whole(on_phone.profile())


def test_a_model_that_the_runner_dies_of_fails_alone_and_by_name(on_phone: Scene) -> None:
    victim = max(TINY.vocabulary, key=lambda block: block.params)
    model = write(chain([(victim, random_weights(np.random.default_rng(0)))], 1), "onnx", inner=True)
    tamper(on_phone, DIES_OF_A_SIZE, f"-DSIZE={len(model.content)}")
    died = on_phone.profile()
    assert died.code == 4 and died.complaint.startswith(f"hwnas: phone cannot run {victim.key}: the runner died of it")
    visits = on_phone.table.visits
    assert victim.key not in visits
    assert len(visits) > 20 and all(len(found) >= ROUNDS for found in visits.values())
    on_phone.assert_nothing_left()
    mend(on_phone)
    on_phone.assert_whole(on_phone.profile())


FOREIGN_MS = 12.345678


def truncate(answer: Path) -> None:
    answer.write_bytes(answer.read_bytes()[:200])


def replace(answer: Path) -> None:
    header = "hwnas-result 1 0123456789abcdef\nruntime 1.31.1\n"
    answer.write_text(header + f"visit 0 0 {FOREIGN_MS} 1.0 0\n" * 5000 + "end 5000\n")


def append(answer: Path) -> None:
    with answer.open("ab") as file:
        file.write(f"visit 0 0 {FOREIGN_MS} 0.1 0\n".encode() + b"\xff\xfe garbage\n")


@pytest.mark.parametrize("spoil", [truncate, replace, append])
def test_a_spoiled_answer_is_never_believed(on_phone: Scene, spoil: Callable[[Path], None]) -> None:
    with on_phone.in_mid_run(lambda: spoil(answer_of(on_phone))):
        spoiled = on_phone.profile()
    if spoiled.code:
        assert (spoiled.code, spoiled.out) == (4, "") and "the device's result file" in spoiled.complaint
        spoiled = on_phone.profile()
    on_phone.assert_whole(spoiled)
    assert not any(visit.ms == FOREIGN_MS for visits in on_phone.table.visits.values() for visit in visits)


def test_clocks_that_go_back_give_no_time_that_cannot_be(on_phone: Scene) -> None:
    tamper(on_phone, CLOCK_GOES_BACK)
    done = on_phone.profile()
    on_phone.assert_whole(done)
