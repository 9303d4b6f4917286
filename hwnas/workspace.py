"""The workspace: the folder in which tables, supernets and bundles are kept, and the names they have there."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwnas.supernet_headers import safetensors_header
from hwnas.training.datasets import canonical
from profilers.device import Device

LONGEST_NAME = 200  # of a folder; file systems take 255 bytes, some of which temporary names add


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

    def supernet(self, space: str, data: str) -> Path:
        """A trained supernet."""
        return self._supernet_folder(space, data) / "supernet.safetensors"

    @property
    def supernets(self) -> Path:
        """The folder of all supernets."""
        return self.root / "supernets"

    def evaluations(self, supernet: Path, sha256: str) -> Path:
        """The accuracies measured on one supernet's weights."""
        return self._beside(supernet) / f"evaluations-{sha256[:12]}.jsonl"

    def accuracy(self, supernet: Path, sha256: str) -> Path:
        """The predictor that was fitted to the accuracies measured on one supernet's weights."""
        return self._beside(supernet) / f"accuracy-{sha256[:12]}.npz"

    def search_log(self, space: str, digest: str) -> Path:
        """What a search scored; the digest is of everything that decides what it finds."""
        return self.searches / f"{space}-{digest[:12]}.jsonl"

    @property
    def searches(self) -> Path:
        """The folder of all logs of searches."""
        return self.root / "searches"

    def bundle(self, devices: Sequence[Device], space: str, budget_ms: Mapping[str, float], suffix: str = "") -> Path:
        """The folder of a net that was specialised for devices with their settings, each with its budget.

        `suffix` tells it from the folders of other requests with these budgets.
        """
        spelled = {name: f"{ms:.15g}ms" for name, ms in budget_ms.items()}
        if len(devices) == 1:
            name = f"{devices[0].slug}-{space}-{spelled[devices[0].name]}{suffix}"
        else:
            name = "-".join([*(f"{d.slug}-{spelled[d.name]}" for d in devices), f"{space}{suffix}"])
        if len(name) > LONGEST_NAME:
            name = f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        return self.bundles / name

    @property
    def bundles(self) -> Path:
        """The folder of all bundles."""
        return self.root / "bundles"

    def _supernet_folder(self, space: str, data: str) -> Path:
        """The folder of what is trained on a data set, however its path is typed.

        One that an earlier version named after the path as it was typed then is found by what its files say.
        """
        folder = self.supernets / f"{space}-{_slug(canonical(data))}"
        if folder.exists() or ":" not in data:
            return folder
        for path in sorted(self.supernets.glob("*/*.safetensors")):
            facts = safetensors_header(path)
            if facts.get("space") == space and canonical(str(facts.get("data"))) == canonical(data):
                return path.parent
        return folder

    def _beside(self, supernet: Path) -> Path:
        """A supernet's folder; of one that comes with hwnas, the folder it would have if it had been trained here."""
        return supernet.parent if supernet.is_relative_to(self.root) else self.supernets / supernet.stem


def _slug(data: str) -> str:
    """A data set's name as a part of a path: names like `imagefolder:/a/b` have characters that cannot be in one."""
    if data.replace("-", "").isalnum():
        return data
    kind = "".join(c if c.isalnum() else "-" for c in data.rpartition("/")[2].partition(":")[0]) or "data"
    return f"{kind}-{hashlib.sha256(data.encode()).hexdigest()[:8]}"
