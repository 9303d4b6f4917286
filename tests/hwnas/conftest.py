"""The command line in this process, and a workspace in which a fake device is profiled and a supernet is trained."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwnas.cli import main
from hwnas.pricing import latency_model
from hwnas.spaces import open_space
from lut.latency_model import LatencyModel
from lut.table import LatencyTable

from ..kit import Outcome

TABLE = Path("tables", "host-fake-fp32-t1-b1.jsonl")
SUPERNET = Path("supernets", "digits-digit-pairs", "supernet.safetensors")

Run = Callable[..., Outcome]


@pytest.fixture
def hwnas(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def few_images() -> Iterator[None]:
    """Subnets evaluated and measured as always, on less; other files' tests find everything as it is."""
    from hwnas.search import subnets
    from hwnas.training import evaluate

    with pytest.MonkeyPatch.context() as patch:
        for name in ("CALIBRATION_BATCHES", "VALIDATION_BATCHES", "TEST_BATCHES"):
            patch.setattr(evaluate, name, 1)
        patch.setattr(evaluate, "BATCH", 16)
        patch.setattr(subnets, "EVALUATED_SUBNETS", 24)
        patch.setattr(subnets, "FINALISTS", 2)
        yield


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a table and a supernet, which no test writes to."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        assert main(["profile", "--runtime", "fake", "--workspace", str(folder), "--json"]) == 0
        assert main(["train", "--steps", "2", "--batch", "8", "--workspace", str(folder), "--json"]) == 0
    return folder


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the person who runs the tests has configured, or plugged in."""
    monkeypatch.setattr("profilers.shells.adb.discover", list)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HWNAS_WORKSPACE", raising=False)


@pytest.fixture
def nothing_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for spaces of which no supernet comes with hwnas."""
    monkeypatch.setattr("hwnas.training.weights.shipped_supernet", lambda *_: None)


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path, no_settings: None, few_images: None) -> Path:
    """A copy of the prepared workspace."""
    return Path(shutil.copytree(prepared, tmp_path / "workspace"))


@pytest.fixture
def table(workspace: Path) -> Path:
    return workspace / TABLE


@pytest.fixture
def supernet(workspace: Path) -> Path:
    return workspace / SUPERNET


@pytest.fixture
def model(prepared: Path) -> LatencyModel:
    """What the prepared table says of the space `digits`."""
    return latency_model(LatencyTable.read(prepared / TABLE), open_space("digits"))


@pytest.fixture
def files() -> Callable[[Path], dict[str, bytes]]:
    """The content of every file in a folder; lock files are nobody's data."""

    def contents(folder: Path) -> dict[str, bytes]:
        found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    return contents
