"""A bundle: the folder with everything that the native runner needs on a device on which nothing is installed.

It holds the runner, ONNX Runtime's library from its wheel, and the loader and libraries they were built with, so
that the device's own C library does not matter, which on phones is another one. It is built on first use and kept in
the user's cache folder; `python -m profilers.runners.bundle aarch64` builds it and prints where it is.
"""

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from profilers.backends import onnxruntime
from profilers.errors import DeviceError, HwnasError, UnknownNameError

LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
LIBRARIES = ("libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1")
RUNTIME = "libonnxruntime.so.1"  # the name under which the runner asks for it
SOURCES = tuple(Path(__file__).with_name(name) for name in ("runner.c", "job.h", "runtime.h"))
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")


def runner_bundle(machine: str, version: str | None = None) -> Path:
    """The folder to push to a device that is a `machine`, as `uname -m` says, with this version of ONNX Runtime.

    Without a version: the installed one. Raises UnknownNameError for a machine that no runner is built for, DeviceError
    where it cannot be built here.
    """
    folder = bundle_folder(machine, version := version or onnxruntime.version())
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as temporary:
            built = Path(temporary) / "bundle"
            _build(built, machine, version)
            try:
                built.rename(folder)
            except OSError:
                if not folder.is_dir():  # or else another process was faster
                    raise
    return folder


def check_buildable(machine: str) -> None:
    """Raise UnknownNameError or DeviceError where `runner_bundle` could not even begin to build what is missing."""
    version = onnxruntime.version()
    if not bundle_folder(machine, version).is_dir():
        _compiler(machine, version)


def bundle_folder(machine: str, version: str) -> Path:
    """Where a bundle is kept; the name changes with all that decides what is in it. Raises UnknownNameError."""
    if machine not in LOADERS:
        raise UnknownNameError("machine for the native runner", machine, LOADERS)
    recipe = hashlib.sha256(repr((FLAGS, LIBRARIES)).encode())
    for source in SOURCES:
        recipe.update(source.read_bytes())
    return platformdirs.user_cache_path("hwnas") / "runners" / f"{machine}-{version}-{recipe.hexdigest()[:12]}"


def command(machine: str, folder: str) -> list[str]:
    """The words that start the runner of a bundle that lies in `folder` on the device; its own arguments follow."""
    return [f"{folder}/{LOADERS[machine]}", "--library-path", folder, f"{folder}/runner"]


def _build(folder: Path, machine: str, version: str) -> None:
    folder.mkdir()
    compiler = _compiler(machine, version)
    failure = f"the runner cannot be compiled ({_needs(machine)} brings what that takes)"
    _run([compiler, *FLAGS, "-o", str(folder / "runner"), str(SOURCES[0]), "-ldl"], failure)
    for name in (LOADERS[machine], *LIBRARIES):
        found = Path(_run([compiler, f"-print-file-name={name}"], f"{compiler} does not work").strip())
        if not found.is_absolute():  # the compiler repeats a name that it does not know
            raise DeviceError(f"{compiler} has no {name}, which the runner needs on the device: {_needs(machine)}")
        shutil.copyfile(found, folder / name)
    _copy_runtime(folder / RUNTIME, machine, version)
    for program in (LOADERS[machine], "runner"):
        (folder / program).chmod(0o755)


def _native(machine: str) -> bool:
    return (platform.system(), platform.machine()) == ("Linux", machine)


def _needs(machine: str) -> str:
    """How Debian's compiler for a machine is installed, with headers and libraries, which it does not bring along."""
    if _native(machine):
        return "apt install gcc libc6-dev libstdc++6"
    debian = {"aarch64": "arm64", "x86_64": "amd64"}[machine]
    gcc = f"gcc-{machine.replace('_', '-')}-linux-gnu"
    return f"apt install {gcc} libc6-dev-{debian}-cross libstdc++6-{debian}-cross"


def _compiler(machine: str, version: str) -> str:
    compiler = "cc" if _native(machine) else f"{machine}-linux-gnu-gcc"
    if not shutil.which(compiler):
        elsewhere = _elsewhere(machine, version)
        raise DeviceError(f"no {compiler} here to build the runner for {machine}: {_needs(machine)}, or {elsewhere}")
    return compiler


def _elsewhere(machine: str, version: str) -> str:
    return (
        f"build it on another computer with `python -m profilers.runners.bundle {machine}` and copy it to "
        f"{bundle_folder(machine, version)}"
    )


def _copy_runtime(target: Path, machine: str, version: str) -> None:
    """ONNX Runtime's library: the installed one where it is for this machine, else the one in the machine's wheel."""
    if _native(machine) and version == onnxruntime.version():
        installed = importlib.util.find_spec("onnxruntime")
        assert installed and installed.origin  # or it had told no version
        if found := sorted((Path(installed.origin).parent / "capi").glob("libonnxruntime.so.*")):
            shutil.copyfile(found[0], target)
            return
    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(_wheel(machine, version, temporary)) as wheel:
        names = [name for name in wheel.namelist() if "/capi/libonnxruntime.so." in name]
        if not names:
            raise DeviceError(
                f"the wheel of onnxruntime {version} for {machine} holds no libonnxruntime.so: use another"
            )
        with wheel.open(names[0]) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)


def _wheel(machine: str, version: str, folder: str) -> Path:
    select = ["--no-deps", "--only-binary=:all:", "--platform", f"manylinux_2_28_{machine}"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", *select, "--dest", folder, f"onnxruntime=={version}"]
    hint = f"install pip, reach the package index, or {_elsewhere(machine, version)}"
    _run(pip, f"pip cannot fetch onnxruntime {version} for {machine}; {hint}")
    return next(Path(folder).glob("*.whl"))


def _run(words: Sequence[str], failure: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise DeviceError(f"{failure}: {' '.join((done.stderr or done.stdout).split())[-400:]}")
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"use: python -m profilers.runners.bundle {'|'.join(LOADERS)}")
    try:
        sys.stdout.write(f"{runner_bundle(sys.argv[1])}\n")
    except HwnasError as error:
        sys.exit(str(error))
