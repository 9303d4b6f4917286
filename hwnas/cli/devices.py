"""`hwnas devices`: what there is to measure on, how it is, and what to do where it is not ready."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwnas.cli import names
from hwnas.cli.options import Json, WorkspaceFolder

if TYPE_CHECKING:
    from profilers.device import Device

app = typer.Typer(help="List devices, add them, check that they work.", invoke_without_command=True)


@app.callback()
def devices(context: typer.Context, workspace: WorkspaceFolder = Path("hwnas-work"), as_json: Json = False) -> None:
    """List the devices there are, and whether they are ready; add one, or check that it works."""
    if context.invoked_subcommand:
        return
    from hwnas.cli.display import show_json, show_table
    from profilers.configuration import configured_devices

    known = list(configured_devices(workspace).values())
    with ThreadPoolExecutor(len(known)) as pool:  # one that does not answer keeps nobody waiting
        rows = [*pool.map(_row, known), *_found({device.connect for device in known})]
    if as_json:
        show_json(rows)
        return
    shown = ("device", "connect", "runtime", "version", "precision", "threads", "batch", "machine", "state", "advice")
    show_table("Devices", shown, [[str(row[key]) for key in shown] for row in rows])


def _row(device: "Device") -> dict[str, Any]:
    from profilers.health import health

    found = health(device)
    return {
        "device": device.name, "connect": device.connect, "runtime": device.runtime, "version": found.version,
        "precision": device.precision, "threads": device.threads, "batch": device.batch, "machine": found.machine,
        "state": found.state, "advice": found.advice,
    }  # fmt: skip


def _found(known: set[str]) -> list[dict[str, Any]]:
    """The devices that can be seen, and are in no `devices.toml`; and what keeps others from being seen."""
    from profilers.shells import discovered

    unknown = {"device": "", "runtime": "", "version": "", "precision": "", "threads": "", "batch": ""}
    return [
        unknown
        | {"connect": device.connect, "machine": device.description, "state": device.state}
        | {"advice": device.advice or f"hwnas devices add NAME --connect {device.connect}"}
        for device in discovered()
        if device.connect not in known
    ]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    connect: Annotated[str, typer.Option(help="adb://SERIAL, ssh://user@host:port, or local.")],
    runtime: Annotated[str, typer.Option(callback=names.runtime, help="What runs the models there.")] = "onnxruntime",
    precision: Annotated[str, typer.Option(callback=names.precision, help="fp32 or int8.")] = "fp32",
    threads: Annotated[int, typer.Option(help="Threads of the runtime.")] = 1,
    cpus: Annotated[str, typer.Option(help="CPUs to stay on, like 4,5,6,7.")] = "",
    clock: Annotated[str, typer.Option(help="wall, or cpu for emulated devices.")] = "wall",
    runner: Annotated[
        str, typer.Option(help="python3, or a path of benchmark_model or onnxruntime_perf_test there.")
    ] = "",
    cooldown: Annotated[str, typer.Option(help="How long to leave it alone when heat slows it, like 30s.")] = "30s",
    only_here: Annotated[bool, typer.Option("--only-here", help="For this workspace and not for all.")] = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
) -> None:
    """Write a device into `devices.toml`, the user's or the workspace's."""
    from hwnas.cli.display import say
    from hwnas.cli.values import cpu_numbers, pause_s
    from profilers.configuration import add_device, device_files
    from profilers.device import Device

    device = Device(
        name=name, connect=connect, runtime=runtime, precision=precision, threads=threads, cpus=cpu_numbers(cpus),
        clock=clock, runner=runner, cooldown_s=pause_s(cooldown),
    )  # fmt: skip
    of_user, of_workspace = device_files(workspace)
    path = of_workspace if only_here else of_user
    add_device(device, path)
    say(f"{name} is in {path}; see that it works: hwnas devices check {name}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A device, as `hwnas devices` lists them.")],
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Reach a device, measure a small model twice on it, and say whether the two times agree: about ten seconds."""
    from hwnas.cli.display import say_of, show_json, show_table
    from profilers.configuration import find_device
    from profilers.health import self_test

    device = find_device(name, workspace)
    facts = self_test(device, say_of(name))
    if as_json:
        show_json(facts)
    else:
        rows = [[key.replace("_", " "), str(value)] for key, value in facts.items()]
        show_table(f"Self test of {name}", ["", ""], rows)
