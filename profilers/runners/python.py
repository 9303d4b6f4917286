"""Python on the device as its runner: this package goes there as one zip file, and measures there as it does here."""

import hashlib
import tempfile
import zipfile
from pathlib import Path

import profilers
from profilers.errors import DeviceError
from profilers.runners import Site
from profilers.runners.started import StartedRunner

VERSION_S = 60.0
_MAIN = """\
import sys
if sys.version_info < (3, 11):  # told in words that older ones understand, too
    sys.exit("it is Python %d.%d" % sys.version_info[:2])
from profilers.runners.there import main
main()
"""
_NO_PYTHON = 127


def install(site: Site) -> StartedRunner:
    """Put the package onto the device; raises DeviceError where its Python or the runtime in it does not do."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "hwnas-runner.zip"
        _write_package(package)
        place = site.settle([package], f"python-{hashlib.sha256(package.read_bytes()).hexdigest()[:16]}")
    command = (site.device.runner, f"{place}/{package.name}", site.device.runtime)
    done = site.shell.run([*command, "--version"], VERSION_S)
    if done.code != 0:
        why = "it is not there" if done.code == _NO_PYTHON else "".join(done.err.strip().splitlines()[-1:])
        raise DeviceError(
            f"{site.device.runner} on the device cannot measure with {site.device.runtime}: {why}; it takes Python "
            "3.11, numpy and the runtime there, or leave `runner` out and use ONNX Runtime, which needs nothing there"
        )
    return StartedRunner(site, command, done.out.split()[-1])


def _write_package(path: Path) -> None:
    """The same bytes for the same sources, whenever it is written."""
    sources = Path(profilers.__file__).parent
    with zipfile.ZipFile(path, "w") as package:
        package.writestr(zipfile.ZipInfo("__main__.py"), _MAIN)
        for source in sorted(sources.rglob("*.py")):
            name = f"profilers/{source.relative_to(sources).as_posix()}"
            package.writestr(zipfile.ZipInfo(name), source.read_text("utf-8"))
