"""The report: all bundles of a workspace, the front they lie on, and everything that searches scored."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.pictures import new_figure, save_png
from hwnas.search.log import FORMAT, VERSION
from hwnas.workspace import Workspace
from lut.storage import RecordLog
from profilers.errors import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SEARCHES = 4
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


def draw_searches(place: Workspace) -> Path | None:
    """Draw what the newest searches scored against what their first limit is on, as searches.png; None without any."""
    paths = sorted(place.searches.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)[-MOST_SEARCHES:]
    if not paths:
        return None
    figure = new_figure(7, 3.8 * len(paths))
    panels = figure.subplots(len(paths), 1, squeeze=False).flat
    for panel, log in zip(panels, (RecordLog.read(path, FORMAT, VERSION) for path in paths), strict=True):
        try:
            _draw_search(panel, log)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"{log.path} is damaged ({error!r}): remove it") from error
    path = place.root / "searches.png"
    save_png(figure, path)
    return path


def _draw_search(panel: "Axes", log: RecordLog) -> None:
    """Every architecture as a point, a colour for each budget, and the best within each."""
    name = next(iter(log.header["limits"][0]))
    panel.set(title=log.path.stem, xlabel=name, ylabel="score")
    for number, limits in enumerate(log.header["limits"]):
        mine = [record for record in log.records if record["search"] == number]
        costs = [cost for record in mine for cost in record["costs"]]
        scores = [score for record in mine for score in record["scores"]]
        limit, colour = limits[name], f"C{number}"
        panel.scatter(
            costs, scores, s=2, alpha=0.3, color=colour, rasterized=True, label=f"{limit:.4g}, {len(mine)} rounds"
        )
        panel.axvline(limit, linestyle=":", color=colour, linewidth=1)
    panel.legend(title="limit", loc="lower right", markerscale=4)
    panel.grid(alpha=0.3)


def _device(facts: dict[str, Any]) -> str:
    """A device with the runtime and precision that its table is of."""
    mark = facts.get("fingerprint", {})
    return " ".join([facts["device"], *(str(mark[key]) for key in ("runtime", "precision") if key in mark)])
