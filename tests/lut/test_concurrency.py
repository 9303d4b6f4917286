"""Several processes at one file lose nothing of what each was told is kept: a few trials of tools/concurrency.py."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "concurrency.py"
    spec = importlib.util.spec_from_file_location("concurrency", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_six_processes_that_begin_a_log_at_once_lose_no_record(tmp_path: Path, trials: ModuleType) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        assert trials.lost_records(tmp_path / str(number), processes=6) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_of_processes_that_add_a_device_at_once_one_succeeds(tmp_path: Path, trials: ModuleType) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        assert trials.damaged_devices(tmp_path / str(number), processes=4) == 0
