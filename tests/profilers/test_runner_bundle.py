"""A runner bundle holds all that a device needs, is built once, and says what is missing where it cannot be built."""

import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from profilers.errors import DeviceError, UnknownNameError
from profilers.runners import bundle

MACHINE = platform.machine()
pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or MACHINE not in bundle.LOADERS or not shutil.which("cc"),
    reason="the native runner is built on Linux, on x86-64 or aarch64, by a C compiler: apt install gcc",
)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_bundle_needs_nothing_of_the_device() -> None:
    made = bundle.runner_bundle(MACHINE)
    loader = [str(made / bundle.LOADERS[MACHINE]), "--library-path", str(made), "--list"]
    for program in ("runner", bundle.RUNTIME):
        listed = subprocess.run(
            [*loader, str(made / program)], capture_output=True, text=True, check=True, env={}
        ).stdout
        found = [line.split(" => ")[1].split(" (")[0] for line in listed.splitlines() if " => " in line]
        assert found and {Path(path).parent for path in found} == {made}


def test_a_bundle_is_built_once_for_each_version() -> None:
    made = bundle.runner_bundle(MACHINE)
    built = (made / "runner").stat().st_mtime_ns
    assert bundle.runner_bundle(MACHINE) == made and (made / "runner").stat().st_mtime_ns == built
    assert bundle.bundle_folder(MACHINE, "1.2.3") != made
    assert [path.name for path in made.parent.iterdir() if path.name.startswith("tmp")] == []


def test_where_a_bundle_cannot_be_built_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DeviceError, match=r"pip cannot fetch onnxruntime 1\.2\.3 .* reach the package index"):
        bundle.runner_bundle(MACHINE, "1.2.3")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=rf"apt install gcc.* copy it to {tmp_path}/cache/hwnas/runners/"):
        bundle.runner_bundle("aarch64")
    with pytest.raises(UnknownNameError, match="'mips'"):
        bundle.runner_bundle("mips")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_another_version_is_taken_from_its_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    with zipfile.ZipFile(tmp_path / f"onnxruntime-1.2.3-{python}-{python}-manylinux_2_28_{MACHINE}.whl", "w") as wheel:
        wheel.writestr("onnxruntime/capi/libonnxruntime.so.1.2.3", "another")
        wheel.writestr(
            "onnxruntime-1.2.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.2.3\n"
        )
        wheel.writestr("onnxruntime-1.2.3.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert (bundle.runner_bundle(MACHINE, "1.2.3") / bundle.RUNTIME).read_text() == "another"


def test_processes_that_build_a_bundle_at_once_get_the_same(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "profilers.runners.bundle", MACHINE]
    builders = [subprocess.Popen(build, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {builder.communicate(timeout=60)[0] for builder in builders} == {f"{bundle.runner_bundle(MACHINE)}\n"}
    assert len(list((tmp_path / "cache/hwnas/runners").iterdir())) == 1
