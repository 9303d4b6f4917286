"""The native runner on a device: our C program and ONNX Runtime with its own loader and libraries.

Started through its own loader it needs nothing of the device but the kernel: Android has another C library.
"""

from profilers.errors import HwnasError
from profilers.runners import Site
from profilers.runners.bundle import check_buildable, command, runner_bundle
from profilers.runners.started import StartedRunner

VERSION_S = 60.0  # an emulated board loads the library in half a minute


def lacking(machine: str) -> str:
    """What it would take to build the bundle for a machine; empty where nothing is missing."""
    try:
        check_buildable(machine)
    except HwnasError as error:
        return str(error)
    return ""


def install(site: Site) -> StartedRunner:
    """Put the bundle for the device's machine onto it, building it first where that was not done yet."""
    bundle = runner_bundle(site.machine)
    place = site.settle(sorted(bundle.iterdir()), f"runner-{bundle.name}")
    words = command(site.machine, place)
    version = site.run([*words, "--version"], VERSION_S).split()[-1]
    return StartedRunner(site, tuple(words), version)
