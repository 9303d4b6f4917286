"""What must be installed here to measure on a device: checked by using it once, before anything is measured."""

from profilers import backends, formats, shells
from profilers.device import Device


def check_installed(device: Device) -> None:
    """Raise DeviceError, which names what to install, if model files for a device cannot be written or measured.

    The writer of its runtime's files is needed here in any case, the runtime itself or else a program that reaches the
    device; what is there at the far end of a connection is not asked.
    """
    backend = backends.load(device.runtime)
    if device.connect == "local":
        backend.version()
    else:
        shells.connector(device.connect.partition("://")[0]).check_installed()
    formats.check(backend.FORMAT, device.form)


def check_export(format: str, form: formats.Form) -> None:
    """Raise DeviceError, which names what to install, if files of a format cannot be written and proven here.

    Raises UnknownNameError for the format.
    """
    check_provable(format)
    formats.check(format, form)


def check_provable(format: str) -> None:
    """Raise DeviceError, which names what to install, if files of a format cannot be run here to prove them."""
    backends.load(formats.load(format).RUNTIME).version()
