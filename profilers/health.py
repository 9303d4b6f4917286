"""How a device is, before anything is measured on it: a look from outside, and a self test of some seconds."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from profilers import runners, shells
from profilers.device import Device, fingerprint
from profilers.errors import DeviceError, InvalidInputError, LostError, UnauthorisedError, UntrustedError
from profilers.local import sentinel_graph
from profilers.measurement import Plan, all_undisturbed
from profilers.patience import Tell
from profilers.profiler import open_profiler

PROBE_S = 8.0
TWICE = ("first", "second")
TEST_PLAN = Plan(target_pct=1.0, max_rounds=200, time_limit_s=4.0)
AGREE_PCT = 5.0


@dataclass(frozen=True)
class Health:
    """`state` is ready, offline, unauthorised, unreachable, runner missing or not usable; `advice` what to do then."""

    state: str
    advice: str = ""
    machine: str = ""
    version: str = ""


def health(device: Device) -> Health:
    """How a device is, without changing anything on it."""
    try:
        if device.connect == "local":
            found = fingerprint(device)
            return Health("ready", machine=found.machine, version=found.runtime_version)
        return _far_health(device)
    except LostError as error:
        return Health("unreachable", str(error))
    except UnauthorisedError as error:
        return Health("unauthorised", str(error))
    except (DeviceError, InvalidInputError) as error:
        return Health("not usable", str(error))


def _far_health(device: Device) -> Health:
    shell = shells.open_shell(device.connect)
    try:
        machine = shell.run(["uname", "-m"], PROBE_S).out.strip()
        lacking = runners.lacking(device, shell, machine)
        return Health("runner missing", lacking, machine) if lacking else Health("ready", machine=machine)
    except DeviceError:  # only now, since what is listed may have been so before the device was mended
        with suppress(DeviceError):  # what discovery fails of is what the device failed of
            for found in shells.connector(device.connect.partition("://")[0]).discover():
                if found.connect == device.connect and found.state != "ready":
                    return Health(found.state, found.advice, found.description)
        raise
    finally:
        shell.close()


def self_test(device: Device, tell: Tell) -> dict[str, Any]:
    """Reach the device, measure one model as two, and compare; raises DeviceError, or UntrustedError if they differ."""
    began = time.monotonic()
    with open_profiler(device, tell) as profiler:
        found = profiler.fingerprint()
        reached_s = time.monotonic() - began
        model = profiler.model(sentinel_graph(device.batch), inner=True)
        visits = profiler.visits(dict.fromkeys(TWICE, model), TEST_PLAN)
        state = profiler.state()
    first, second = all_undisturbed(visits).values()
    apart_pct = 100 * abs(first.latency_ms / second.latency_ms - 1)
    if apart_pct > AGREE_PCT:
        raise UntrustedError(
            f"{device.name} works, but the same model took {first} and {second}: is it doing something else, or hot? "
            "A fixed clock, fewer threads or other cpus in devices.toml may help"
        )
    return {
        "device": device.name,
        "machine": found.machine,
        "runtime": f"{found.runtime} {found.runtime_version}",
        "latency_ms": first.latency_ms,
        "again_ms": second.latency_ms,
        "apart_pct": apart_pct,
        "visits": len(visits["first"]),
        "reached_s": reached_s,
        "seconds": time.monotonic() - began,
        **state,
    }
