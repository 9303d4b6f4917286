"""The report: all bundles of a workspace, and the front of accuracy against latency that they lie on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwnas.pictures import new_figure, save_png
from hwnas.workspace import Workspace
from profilers.errors import InvalidInputError

NEEDED = ("device", "budget_ms", "predicted_ms", "measured_ms", "interval_ms", "accuracy", "macs", "params")


def read_bundles(place: Workspace) -> list[dict[str, Any]]:
    """The facts of every bundle, the smallest budget first; raises InvalidInputError if there is none."""
    bundles = []
    for path in sorted(place.bundles.glob("[!.]*/bundle.json")):
        try:
            facts = json.loads(path.read_text("utf-8"))
            if lacking := [key for key in NEEDED if key not in facts]:
                raise ValueError(f"it has no {lacking[0]}")
            bundles.append({**facts, "bundle": str(path.parent)})
        except (OSError, TypeError, ValueError) as error:
            raise InvalidInputError(f"{path} cannot be read: {error}; specialise again, or remove it") from error
    if not bundles:
        raise InvalidInputError(f"{place.bundles} holds no bundle yet; make one with: hwnas specialize --latency …")
    return sorted(bundles, key=lambda facts: (facts["device"], facts["budget_ms"]))


def draw_front(place: Workspace, bundles: Sequence[dict[str, Any]]) -> Path:
    """Draw test accuracy against measured latency, with intervals and budgets, as front.png; returns its path."""
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot(xlabel="latency (ms)", ylabel="test accuracy (%)")
    for device in dict.fromkeys(map(_device, bundles)):
        mine = [facts for facts in bundles if _device(facts) == device]
        measured = [facts["measured_ms"] for facts in mine]
        accuracy = [100 * facts["accuracy"] for facts in mine]
        ends = [[abs(facts["interval_ms"][end] - facts["measured_ms"]) for facts in mine] for end in (0, 1)]
        line = axes.errorbar(measured, accuracy, xerr=ends, marker="o", capsize=3, label=f"{device}, measured")
        axes.scatter(
            [facts["predicted_ms"] for facts in mine], accuracy, marker="x", color="black", zorder=3,
            label=f"{device}, predicted",
        )  # fmt: skip
        for facts in mine:
            axes.axvline(facts["budget_ms"], linestyle=":", color=line[0].get_color(), linewidth=1)
    axes.plot([], [], linestyle=":", color="grey", label="budget")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    path = place.root / "front.png"
    save_png(figure, path)
    return path


def _device(facts: dict[str, Any]) -> str:
    """A device with the runtime and precision that its table is of."""
    mark = facts.get("fingerprint", {})
    return " ".join([facts["device"], *(str(mark[key]) for key in ("runtime", "precision") if key in mark)])
