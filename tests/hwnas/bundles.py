"""What tests of bundles use: a record, what a model takes, and bundles of a few bytes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwnas.export.bundle import write_bundle
from hwnas.export.predict import ModelInput
from hwnas.export.record import BundleRecord, BundleRequest, OnDevice
from hwnas.training.datasets import Dataset
from profilers.formats import ModelFile

DIGEST = "0" * 64
FINGERPRINT = {"machine": "x86", "runtime": "onnxruntime", "precision": "fp32", "threads": 1, "batch": 1, "cpus": ""}
INPUT = ModelInput(shape=(1, 2, 2), hw=2, scaling="")


def on_device(device: str, budget_ms: float, measured_ms: float, **changed: Any) -> OnDevice:
    """A network's figures on a device."""
    interval_ms = (0.99 * measured_ms, 1.01 * measured_ms)
    plain = OnDevice(
        device=device, budget_ms=budget_ms, predicted_ms=1.02 * measured_ms, measured_ms=measured_ms,
        interval_ms=interval_ms, raw_ms=measured_ms, fingerprint=FINGERPRINT, table_sha256=DIGEST,
    )  # fmt: skip
    return replace(plain, **changed)


RECORD = BundleRecord(
    arch="digits:40-1-3-3", devices=(on_device("host", 0.1, 0.09),), validation_accuracy=0.9, accuracy=0.88, macs=1200,
    params=300, evaluations=10, max_difference=1e-6, attempts=1, supernet_sha256=DIGEST, data="digit-pairs", seed=0,
    command="hwnas specialize --latency 100us", hwnas="0.1.0", created="2026-01-31T12:00:00+00:00", request=None,
    files={"model.onnx": DIGEST},
)  # fmt: skip


def taken(dataset: Dataset, hw: int | None = None) -> ModelInput:
    """What a model for images of a data set takes, made smaller to `hw` pixels."""
    return ModelInput(dataset.shape, hw or dataset.shape[1], dataset.scaling, dataset.picture_form)  # type: ignore[attr-defined]


def request(**changed: Any) -> BundleRequest:
    """A plain request for 0.1 ms on the host."""
    plain: Mapping[str, Any] = {
        "space": "digits", "resolutions": (40,), "data": "digit-pairs", "limits": {}, "budget_ms": {"host": 0.1},
    }  # fmt: skip
    return BundleRequest(**{**plain, **changed})


def small_bundle(folder: Path, content: bytes = b"model", **changed: Any) -> BundleRecord:
    """Write a bundle whose model is no more than some bytes."""
    record = replace(RECORD, **changed)
    return write_bundle(folder, [ModelFile("onnx", content)], labels=["a", "b"], takes=INPUT, record=record)
