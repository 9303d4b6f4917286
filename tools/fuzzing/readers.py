"""The readers there are, each with a valid sample: what tools/fuzz.py and its test run over."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwnas.accuracy_files import read_accuracy
from hwnas.arch import Arch
from hwnas.cli import values
from hwnas.export.bundle import read_bundles
from hwnas.export.record import BundleRecord, BundleRequest, OnDevice
from hwnas.nets.supernet import Supernet
from hwnas.published import net_config, read_net
from hwnas.search.accuracy.storage import open_accuracy
from hwnas.search.log import encoded, search_log
from hwnas.spaces import open_space
from hwnas.training.checkpoints import export_checkpoint, import_checkpoint
from hwnas.training.distributed import ALONE
from hwnas.training.evaluate import SubnetEvaluator
from hwnas.training.plan import TrainPlan
from hwnas.training.precision import Precision
from hwnas.training.recipes import open_recipe
from hwnas.training.run import Run
from hwnas.training.weights import load_supernet, save_supernet
from lut.blocks import Block, Conv, Linear, MBConv
from lut.importers import read_published
from lut.storage import RecordLog
from lut.table import LatencyTable
from profilers.configuration import configured_devices
from profilers.device import Fingerprint

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
PUBLISHED = open_space("ofa-mbv3@0.1", classes=3)
OFA = open_space("ofa-mbv3@1.2")
ARCH = OFA.arch(OFA.sample(1, np.random.default_rng(0))[0])
BLOCKS: tuple[Block, ...] = (Conv(3, 8, 32, 3, 2, "relu"), MBConv(8, 8, 16, 24, 3, 1, True, "hswish"), Linear(8, 10, 1))


@dataclass(frozen=True)
class Reader:
    """What reads a file called `file`; `sample` is one that it takes, of a kind that `mutations` knows."""

    name: str
    kind: str
    file: str
    sample: bytes
    read: Callable[[Path], object]


def readers(folder: Path) -> Iterator[Reader]:
    """All readers; `folder` is for samples on their way."""
    yield Reader("table", "lines", "table.jsonl", _table(folder), read_table)
    yield Reader("devices.toml", "text", "work/devices.toml", DEVICES, lambda path: configured_devices(path.parent))
    yield Reader("published table (ofa)", "text", "t.yaml", YAML_OFA, lambda path: read_published("ofa", [path]))
    yield Reader(
        "published table (proxyless)", "text", "t.yaml", YAML_PROXYLESS, lambda p: read_published("proxyless", [p])
    )
    config = json.dumps(net_config([*OFA.layers(ARCH).values()])).encode()
    yield Reader("net.config", "json", "net.config", config, lambda path: read_net(path, OFA))
    yield from _weights(folder)
    yield from _accuracies()
    yield from _logs(folder)
    yield from _bundle()
    yield from _values()


def read_table(path: Path) -> None:
    """Read a table and everything that is derived from it."""
    table = LatencyTable.read(path)
    for name in list(table.visits):
        table.measurement(name)
    table.missing(BLOCKS)
    table.latency_ms(BLOCKS)
    table.calibration("net x:")


def read_proxyless(path: Path) -> object:
    """Read a published table of ProxylessNAS's format."""
    return read_published("proxyless", [path])


def _table(folder: Path) -> bytes:
    mark = Fingerprint(machine="a", cores=8, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1)
    table = LatencyTable.open(folder / "table.jsonl", "pixel", mark)
    nets = {f"net x:{n}": BLOCKS[:1] * n + BLOCKS for n in range(1, 7)}
    costs = {block.key: 1.0 + n for n, block in enumerate(BLOCKS)}
    log = RecordLog.read(folder / "table.jsonl", "hwnas-table", 1)
    log.append({"state": {"time": "2026-01-01T00:00:00+00:00", "max_mhz": 2500.0}})
    for name, blocks in nets.items():
        log.append({"net": {"name": name, "blocks": [block.key for block in blocks]}})
        costs[name] = sum(costs[block.key] for block in blocks) * 1.01
    for n in range(17):
        log.append({"round": {name: [ms * (1 + n / 1000), 0.125] for name, ms in costs.items()}})
    calibration = {"nets": "net x:", "count": 6, "mean_error_pct": 1.0, "max_error_pct": 2.0}
    log.append({"calibration": calibration})
    log.append({"transferred": {"nets": "net x:", "sources": ["pi"], "errors_pct": [1.0, -2.0], "ms": costs}})
    log.append({"published": {"name": BLOCKS[0].key, "ms": 4.8, "runs": 54, "std_ms": 0.1, "source": "a.yaml"}})
    del table
    return (folder / "table.jsonl").read_bytes()


DEVICES = b"""# mine
[pixel]
connect = "adb://3A021FDH"
threads = 4
cpus = [4, 5]
clock = "wall"
cooldown_s = 30.5

["pi"]
connect = 'ssh://pi@board.local:22'
runtime = "litert"
runner = "python3"
"""
YAML_OFA = b"""AvgPool2D-input:5x5x1152-output:1x1x1152:
  count: 491
  mean: 0.008482688391038698
  std: 0.0006733248071883371
expanded_conv-input:7x7x8-output:7x7x8-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0:
  count: 498
  mean: 0.495562248995984
  std: &s 0.010239557348882489
"""
YAML_PROXYLESS = b"""Conv-input:224x224x3-output:112x112x32:
  count: 982
  mean: 4.083755600814664
  var: 0.2502372872758427
expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0:
  {count: 982, mean: 4.8, var: 0.1}
"""


def _weights(folder: Path) -> Iterator[Reader]:
    torch.manual_seed(0)
    net = Supernet(PUBLISHED)
    for suffix, kind in ((".pth", "torch"), (".safetensors", "safetensors")):
        export_checkpoint(net, folder / f"net{suffix}")
        content = (folder / f"net{suffix}").read_bytes()
        yield Reader(f"state dict {suffix}", kind, f"net{suffix}", content, import_published)
    arrays = torch.load(folder / "net.pth", weights_only=True)["state_dict"]
    written = BytesIO()
    np.savez(written, **{key: tensor.numpy() for key, tensor in arrays.items()})
    yield Reader("state dict .npz", "npz", "net.npz", written.getvalue(), import_published)
    old = BytesIO()
    torch.save({"ema": arrays, "epoch": 3}, old, _use_new_zipfile_serialization=False)
    yield Reader("state dict, old .pth", "text", "old.pth", old.getvalue(), import_published)
    save_supernet(
        Supernet(SPACE), folder / "supernet", data="blobs", plan={"seed": 3}, origin={"file": "a", "sha256": "b"}
    )
    yield Reader("supernet", "safetensors", "s.safetensors", (folder / "supernet").read_bytes(), read_supernet)
    _run().write(folder / "checkpoint")
    content = (folder / "checkpoint").read_bytes()
    yield Reader("checkpoint", "safetensors", "c.safetensors", content, lambda path: _run().resume(path, ALONE))


def read_supernet(path: Path) -> None:
    """Read a supernet, and what it says of the data."""
    trained = load_supernet(path)
    _ = trained.seed
    trained.net.extract(SPACE.largest)


def import_published(path: Path) -> object:
    """Read a state dict of once-for-all's naming."""
    return import_checkpoint(path, PUBLISHED)


def read_published_accuracy(path: Path) -> object:
    """Read a predictor of once-for-all's, and ask it."""
    return read_accuracy(path, OFA)(OFA.sample(4, np.random.default_rng(0)))


def _run() -> Run:
    plan = TrainPlan(steps=10, ema=0.9)
    net = Supernet(SPACE)
    run = Run.begin(net, open_recipe(plan.recipe), plan, Precision.best(torch.device("cpu")), "blobs")
    run.step, run.progress, run.seconds = 5, 0.5, 1.0
    return run


def _accuracies() -> Iterator[Reader]:
    rng = np.random.default_rng(0)
    sizes = (128, 8, 8, 8, 1)
    arrays: dict[str, Any] = {}
    for number, (n_in, n_out) in enumerate(pairwise(sizes)):
        arrays[f"{2 * number}.weight"] = rng.standard_normal((n_out, n_in), np.float32)
        arrays[f"{2 * number}.bias"] = rng.standard_normal(n_out, np.float32)
    written, saved = BytesIO(), BytesIO()
    np.savez(written, **arrays)
    torch.save({key: torch.from_numpy(array) for key, array in arrays.items()}, saved)
    yield Reader("accuracy .npz, published", "npz", "a.npz", written.getvalue(), read_published_accuracy)
    yield Reader("accuracy .pth, published", "torch", "a.pth", saved.getvalue(), read_published_accuracy)
    about = {
        "format": "hwnas-accuracy", "version": 1, "space": SPACE.name, "resolutions": [8], "classes": 5,
        "dimensions": {d.name: list(d.choices) for d in SPACE.dimensions}, "kind": "ridge", "rmse": 0.1,
        "kendall_tau": 0.9, "subnets": 9, "made_from": {"a": "b"},
    }  # fmt: skip
    from hwnas.search.accuracy.features import Features

    fitted = BytesIO()
    width = Features(SPACE).width
    np.savez(fitted, about=np.array(json.dumps(about)), weights=np.zeros(width), intercept=np.array(0.5))
    few = SPACE.sample(4, np.random.default_rng(0))
    yield Reader("accuracy .npz, ours", "npz", "a.npz", fitted.getvalue(), lambda path: open_accuracy(path, SPACE)(few))


def _logs(folder: Path) -> Iterator[Reader]:
    header = {"format": "hwnas-search", "version": 1, "limits": [{"latency": 1.0}]}
    log = RecordLog.open(folder / "search.jsonl", header)
    rows = SPACE.sample(3, np.random.default_rng(0))
    for number in range(3):
        log.append({"search": 0, "rows": encoded(rows), "scores": [0.1 * number, 0.2, 0.3], "costs": [1.0, 2.0, 3.0]})

    def read_search(path: Path) -> None:
        with search_log(path, {"limits": [{"latency": 1.0}]}, SPACE):
            pass

    yield Reader("search log", "lines", "search.jsonl", log.path.read_bytes(), read_search)
    trained, blobs = load_supernet(folder / "supernet"), Blobs()
    evaluator = SubnetEvaluator(trained, blobs, folder / "evaluations.jsonl")
    judged = RecordLog.read(folder / "evaluations.jsonl", "hwnas-evaluations", 2)
    images = evaluator._number("validation")
    for row in rows:
        judged.append({"arch": str(SPACE.arch(row)), "images": images, "top1": 3, "top5": 5})
    content = judged.path.read_bytes()
    yield Reader("evaluations", "lines", "e.jsonl", content, lambda path: SubnetEvaluator(trained, blobs, path).known)


def _bundle() -> Iterator[Reader]:
    digest = "0" * 64
    mark = {"machine": "x86", "runtime": "fake", "precision": "fp32", "threads": 1, "batch": 1, "cpus": ""}
    board, host = (
        OnDevice(
            device=name, budget_ms=0.1, predicted_ms=0.09, measured_ms=0.09, interval_ms=(0.08, 0.095), raw_ms=0.09,
            fingerprint=mark, table_sha256=digest,
        )
        for name in ("board", "host")
    )  # fmt: skip
    request = BundleRequest(
        space="digits", resolutions=(40,), data="digit-pairs", limits={}, budget_ms={"board": 0.1, "host": 0.1}
    )
    record = BundleRecord(
        arch="digits:40-1-3-3", devices=(board, host), validation_accuracy=0.9, accuracy=0.88, macs=1200, params=300,
        evaluations=10, max_difference=1e-6, attempts=1, supernet_sha256=digest, data="digit-pairs", seed=0,
        command="hwnas specialize --latency 100us", hwnas="0.1.0", created="2026-01-31T12:00:00+00:00",
        request=request, files={"model.onnx": digest},
    )  # fmt: skip
    yield Reader("bundle.json", "json", "one/bundle.json", record.content(), read_bundle)


def read_bundle(path: Path) -> None:
    """Read a bundle's record, write it again, and list the bundles there are."""
    BundleRecord.read(path).content()
    read_bundles(path.parent.parent)


class Blobs:
    """Images that are never drawn."""

    name, classes, scaling, shape = "blobs", ("a", "b", "c", "d", "e"), "as it is", (1, 8, 8)

    def batch(self, split: str, index: int, size: int) -> Any:
        raise NotImplementedError


def _values() -> Iterator[Reader]:
    spellings: dict[str, tuple[str, Callable[[str], object]]] = {
        "architecture": (str(ARCH), OFA.parse),
        "architecture, any": (str(ARCH), Arch.parse),
        "block": (BLOCKS[1].key, Block.parse),
        "space": ("ofa-mbv3@1.2", open_space),
        "latency": ("80.5ms", values.latency_ms),
        "budgets": ("host=3ms,board=40us", lambda text: values.budgets(text, "host")),
        "pause": ("30s", values.pause_s),
        "count": ("1.2G", values.count),
        "size": ("512KiB", values.size_bytes),
        "resolutions": ("160,192,224", lambda text: open_space("ofa-mbv3", resolutions=values.resolutions(text))),
        "CPUs": ("4,5,6,7", values.cpu_numbers),
    }
    for name, (sample, read) in spellings.items():

        def read_text(path: Path, read: Callable[[str], object] = read) -> object:
            return read(path.read_bytes()[:100_000].decode("utf-8", "surrogateescape"))

        yield Reader(f"value: {name}", "text", "value", sample.encode(), read_text)
