"""Images of any number go through files of any batch size, and a session says what its clock says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers import backends
from profilers.backends import in_batches, timed
from profilers.graph import Array


@given(count=st.integers(1, 12), size=st.integers(1, 5))
def test_every_image_is_run_once_in_batches_of_one_size(count: int, size: int) -> None:
    x, seen = np.arange(count * 6, dtype=np.float32).reshape(count, 1, 2, 3), list[Array]()

    def run(batch: Array) -> Array:
        seen.append(batch)
        return batch.reshape(len(batch), -1) * 2

    assert np.array_equal(in_batches(x, size, run), x.reshape(count, -1) * 2)
    assert {len(batch) for batch in seen} == {size} and len(seen) == -(-count // size)
    assert np.array_equal(np.concatenate(seen)[:count], x)


@pytest.mark.parametrize("clock", backends.CLOCKS)
def test_a_session_runs_once_and_tells_the_time_of_its_clock_in_milliseconds(
    clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, runs = iter([1_000_000, 3_500_000]), list[str]()
    monkeypatch.setitem(backends.CLOCKS, clock, lambda: next(readings))
    assert timed(lambda: runs.append("run"), clock)() == 2.5
    assert runs == ["run"]
