"""What a command needs is asked for before it measures, trains or searches, and one line names the extra to install."""

import subprocess
import sys

import pytest

from hwnas.spaces import open_space
from hwnas.workspace import Workspace
from profilers import formats
from profilers.configuration import find_device
from profilers.device import Device
from profilers.errors import DeviceError
from profilers.formats import Form
from profilers.installed import check_export, check_installed

pytestmark = pytest.mark.usefixtures("no_settings")

WITHOUT = """
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec
hidden = sys.argv.pop(1)
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] == hidden else find(name, *rest)
from hwnas.cli import main
sys.exit(main())
"""


def without(package, folder, command):
    """What a command ends with and says where a package is not installed, which must leave no trace."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, package, *command.split(), "--workspace", str(folder / "work")],
        capture_output=True, text=True, cwd=folder, timeout=60, check=False,
    )  # fmt: skip
    assert not (folder / "work").exists() and not done.stdout
    (line,) = done.stderr.splitlines()
    return done.returncode, line


ARCH = open_space("digits").smallest


@pytest.mark.parametrize("command", ["train", "search --latency 1ms --runtime fake"])
def test_without_torch_nothing_is_measured_and_the_extra_is_named(tmp_path, command):
    code, line = without("torch", tmp_path, command)
    assert code == 3 and line == "hwnas: this needs torch, which is not installed: pip install 'hwnas[train]'"


@pytest.fixture
def hidden(monkeypatch):
    """How to make a package one that is not installed."""

    def hide(name):
        for module in [name, *(loaded for loaded in sys.modules if loaded.startswith(f"{name}."))]:
            monkeypatch.setitem(sys.modules, module, None)

    return hide


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("ai_edge_litert", "specialize --latency 1ms --runtime litert"),
        ("ai_edge_litert", "profile --runtime litert"),
        ("ai_edge_quantizer", "profile --runtime litert --precision int8"),
        ("ai_edge_quantizer", "specialize --latency 1ms --runtime litert --precision int8"),
        ("ai_edge_litert", f"export --arch {ARCH} --output net.tflite"),
        ("ai_edge_quantizer", f"export --arch {ARCH} --output net.tflite --precision int8"),
    ],
)
def test_without_a_writer_or_a_runtime_nothing_is_measured_and_the_extra_is_named(
    hwnas, tmp_path, hidden, package, command
):
    pytest.importorskip(package)
    hidden(package)
    done = hwnas(*command.split(), "--workspace", tmp_path / "work")
    assert done.code == 4 and done.refusal.endswith("pip install 'hwnas[litert]'")
    assert not (tmp_path / "work").exists()


def test_a_device_far_away_needs_what_reaches_it_and_the_writer_of_its_files(hidden):
    board = Device(name="pi", connect="ssh://pi@10.0.0.9", runtime="onnxruntime")
    hidden("onnxruntime")  # which is wanted there, not here
    check_installed(board)
    hidden("asyncssh")
    with pytest.raises(DeviceError, match=r"hwnas\[devices\]"):
        check_installed(board)


def test_of_several_devices_none_is_measured_where_one_lacks_something(hwnas, tmp_path, hidden, files):
    (tmp_path / "devices.toml").write_text('[toy]\nruntime = "fake"\n[pi]\nconnect = "ssh://pi@10.0.0.9"\n')
    hidden("asyncssh")
    for command, profiled in (("search", False), ("specialize", False), ("specialize", True)):
        if profiled:  # they are going to be measured on all the same
            (tmp_path / "tables").mkdir()
            for name in ("toy", "pi"):
                Workspace(tmp_path).table(find_device(name, tmp_path)).touch()
        before = files(tmp_path)
        done = hwnas(command, "--latency", "toy=1ms,pi=1ms", "--workspace", tmp_path)
        assert done.code == 4 and "hwnas[devices]" in done.refusal and files(tmp_path) == before


def test_a_network_is_not_searched_for_where_its_file_could_not_be_proven(hwnas, tmp_path, hidden, files):
    hidden("onnxruntime")  # the device itself needs none
    done = hwnas("specialize", "--latency", "1ms", "--runtime", "fake", "--workspace", tmp_path)
    assert done.code == 4 and "onnxruntime is not installed" in done.refusal and not files(tmp_path)


@pytest.mark.parametrize("precision", formats.PRECISIONS)
def test_a_file_that_is_exported_needs_the_runtime_that_it_is_proven_on(hidden, precision):
    check_export("onnx", Form(precision))
    hidden("onnxruntime")
    with pytest.raises(DeviceError, match="onnxruntime is not installed"):
        check_export("onnx", Form(precision))
