"""`hwnas measure`: how long model files of the user's own take, by the method that everything here is measured by."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwnas.cli import names
from hwnas.cli.options import DeviceName, Json, Runtime, WorkspaceFolder

if TYPE_CHECKING:
    from profilers.device import Device
    from profilers.file_timing import FileTiming
    from profilers.formats import ModelFile

NOT_KNOWN = "not known"


def measure(
    files: Annotated[
        list[Path], typer.Argument(callback=names.files, help="ONNX or TFLite files; several are compared.")
    ],
    device: DeviceName = "host",
    runtime: Runtime = None,
    quick: Annotated[bool, typer.Option("--quick", help="Stop at intervals of ±3 %.")] = False,
    careful: Annotated[bool, typer.Option("--careful", help="Go on to intervals of ±0.5 %.")] = False,
    workspace: WorkspaceFolder = Path("hwnas-work"),
    as_json: Json = False,
) -> None:
    """Time your own model files on a device; several in the same rounds, each compared with the first."""
    if quick and careful:
        raise typer.BadParameter("--quick and --careful exclude each other")
    from profilers.configuration import find_device
    from profilers.measurement import plan_named
    from profilers.model_files import check_taken, read_model

    on = find_device(device, workspace, runtime)
    models = {str(path): read_model(path) for path in files}
    for path in files:
        check_taken(path, models[str(path)], on.runtime)

    from hwnas.cli.display import ProgressDisplay, say_of, show_json
    from profilers.file_timing import time_files
    from profilers.profiler import open_profiler

    with open_profiler(on, say_of(device)) as profiler, ProgressDisplay() as display:
        plan = plan_named("quick" if quick else "careful" if careful else "default")
        found = time_files(models, profiler, plan, display)
    facts = [_facts(name, models[name], on, timing) for name, timing in found.items()]
    show_json(facts) if as_json else _show(facts)


def _facts(name: str, model: "ModelFile", device: "Device", found: "FileTiming") -> dict[str, Any]:
    """What was found of a file, under the names that `--json` has for it."""
    from profilers.file_timing import percentiles_ms

    of, taken = found.measurement, found.footprint
    return {
        "file": name,
        "format": model.format,
        "file_bytes": Path(name).stat().st_size,
        "device": device.name,
        "runtime": device.runtime,
        "threads": device.threads,
        "latency_ms": of.latency_ms,
        "interval_ms": of.interval_ms,
        "undisturbed": {"repetitions": len(found.undisturbed_ms), **percentiles_ms(found.undisturbed_ms)},
        "all": {"repetitions": len(found.all_ms), **percentiles_ms(found.all_ms)},
        "load_ms": taken.load_ms if taken else None,
        "peak_memory_bytes": taken.peak_memory_bytes if taken else None,
        "ratio": found.ratio.latency_ms if found.ratio else None,
        "ratio_interval": found.ratio.interval_ms if found.ratio else None,
    }


def _show(found: list[dict[str, Any]]) -> None:
    from hwnas.cli.display import out, say, show_table
    from hwnas.cli.values import in_ms

    columns = ["file", "latency", "95 % interval", "p50", "p90", "p99", "load", "memory", "size", "against first"]
    rows = []
    for f in found:
        low, high = f["interval_ms"]
        shares = [
            in_ms(f["undisturbed"][key]) if key in f["undisturbed"] else "" for key in ("p50_ms", "p90_ms", "p99_ms")
        ]
        load = NOT_KNOWN if f["load_ms"] is None else in_ms(f["load_ms"])
        memory = NOT_KNOWN if f["peak_memory_bytes"] is None else f"{f['peak_memory_bytes'] / 1e6:.1f} MB"
        against = "" if f["ratio"] is None else "x {:.3f} [{:.3f}, {:.3f}]".format(f["ratio"], *f["ratio_interval"])
        rows.append([
            f["file"], in_ms(f["latency_ms"]), f"{low:.4g} - {high:.4g} ms", *shares, load, memory,
            f"{f['file_bytes'] / 1e3:.0f} kB" if f["file_bytes"] < 1e6 else f"{f['file_bytes'] / 1e6:.1f} MB", against,
        ])  # fmt: skip
    if len(found) == 1:
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    show_table(f"{found[0]['device']}, {found[0]['runtime']}, threads: {found[0]['threads']}", columns, rows)
    for f in found:
        every = f["all"]
        out(
            f"{f['file']}: {f['undisturbed']['repetitions']} of {every['repetitions']} repetitions undisturbed; of all "
            f"p50 {in_ms(every['p50_ms'])}, p90 {in_ms(every['p90_ms'])}, p99 {in_ms(every['p99_ms'])}"
        )
        if f["undisturbed"]["repetitions"] < 4:
            say(f"{f['file']}: the device was never quiet for long: measure again when less runs beside")
