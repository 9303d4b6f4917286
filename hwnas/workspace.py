"""The workspace: the folder in which tables, supernets and bundles are kept, and the names they have there."""

from dataclasses import dataclass
from pathlib import Path

from profilers.device import Device


@dataclass(frozen=True)
class Workspace:
    """Where everything is; nothing is created before it is written."""

    root: Path

    def table(self, device: Device) -> Path:
        """The latency table of a device with its settings."""
        return self.root / "tables" / f"{device.slug}.jsonl"

    def imported(self, device: str) -> Path:
        """A published latency table."""
        return self.root / "tables" / f"{device}-published.jsonl"

    def checkpoint(self, space: str, data: str) -> Path:
        """The checkpoint of a training that is under way."""
        return self.root / "supernets" / f"{space}-{data}" / "checkpoint.safetensors"

    def supernet(self, space: str, data: str) -> Path:
        """A trained supernet."""
        return self.root / "supernets" / f"{space}-{data}" / "supernet.safetensors"

    def evaluations(self, supernet: Path, sha256: str) -> Path:
        """The accuracies measured on one supernet's weights."""
        return supernet.with_name(f"evaluations-{sha256[:12]}.jsonl")

    def bundle(self, device: Device, space: str, budget_ms: float) -> Path:
        """The folder of a net that was specialised for a device with its settings."""
        return self.bundles / f"{device.slug}-{space}-{budget_ms:g}ms"

    @property
    def bundles(self) -> Path:
        """The folder of all bundles."""
        return self.root / "bundles"
