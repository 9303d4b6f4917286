"""The report's pictures: a Pareto front of accuracy and latency for each kind of bundle, and what searches scored."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwnas.arch import Arch
from hwnas.export.record import BundleRecord, OnDevice
from hwnas.pictures import new_figure, save_png
from hwnas.search.log import FORMAT, VERSION
from hwnas.spaces import open_space
from hwnas.workspace import Workspace
from lut.storage import RecordLog
from profilers.errors import InvalidInputError
from profilers.reading import Fields

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SEARCHES = 4
LONGEST_LINE = 100  # characters of a title or label
FARTHEST_BUDGET = 1.5  # times the slowest measured time: a mark farther out would leave no room for the front
UNITS: Mapping[str, tuple[str, float]] = {  # of the limits that a search's log names, by how their names begin
    "latency": ("ms", 1),
    "number of MACs": ("M", 1e6),
    "number of parameters": ("M", 1e6),
    "peak activation memory": ("MB", 1e6),
    "file size": ("MB", 1e6),
}

Series = tuple[tuple[str, str], ...]
"""What bundles must have in common to be compared, as pairs of a key and a text."""


@dataclass(frozen=True)
class Point:
    """One bundle's network on one device."""

    accuracy_pct: float
    on: OnDevice
    front: bool  # no other one of its series is as fast and more accurate, or as accurate and faster


def draw_front(place: Workspace, bundles: Sequence[BundleRecord]) -> Path:
    """Draw test accuracy against measured latency as front.png, a Pareto front for each series; returns its path."""
    figure = new_figure(7.5, 4.6)
    axes = figure.add_subplot(xlabel="latency (ms), measured, with 95 % interval", ylabel="test accuracy (%)")
    series = series_of(bundles)
    shared = {pair for pair in next(iter(series)) if all(pair in other for other in series)}
    axes.set_title(
        _joined(text for key, text in next(iter(series)) if (key, text) in shared and key != "machine"), fontsize=10
    )
    for number, (key, points) in enumerate(series.items()):
        _draw_series(axes, points, f"C{number}", _joined(text for name, text in key if (name, text) not in shared))
    axes.plot([], [], "x", color="grey", label="predicted")
    axes.plot([], [], "|", color="grey", markersize=10, markeredgewidth=2, label="budget")
    if any(not point.front for points in series.values() for point in points):
        axes.plot([], [], "o", color="grey", markerfacecolor="white", label="dominated by another")
    figure.legend(loc="outside lower center", fontsize=8, ncols=1 if len(series) > 1 else 4)
    axes.grid(alpha=0.25)
    axes.margins(x=0.08, y=0.12)
    path = place.root / "front.png"
    save_png(figure, path)
    return path


def series_of(bundles: Sequence[BundleRecord]) -> dict[Series, list[Point]]:
    """The bundles' networks on each device they are for, by what makes them comparable; each from the fastest on."""
    found: dict[Series, list[tuple[float, OnDevice]]] = {}
    for bundle in bundles:
        for on in bundle.devices:
            found.setdefault(_series(bundle, on), []).append((100 * bundle.accuracy, on))
    return {key: _points(pairs) for key, pairs in found.items()}


def _series(bundle: BundleRecord, on: OnDevice) -> Series:
    mark, request = on.fingerprint, bundle.request
    settings = [f"{mark[key]} {key}" for key in ("threads", "batch") if mark[key] != 1]
    settings += [f"{key} {mark[key]}" for key in ("cpus", "clock", "runner") if mark.get(key) not in (None, "", "wall")]
    space = Arch.parse(bundle.arch).space
    sizes = "/".join(map(str, request.resolutions if request else _usual_resolutions(space)))
    return (
        ("device", on.device),
        ("runtime", f"{mark['runtime']} {mark['precision']}"),
        ("settings", ", ".join(settings)),
        ("machine", str(mark.get("machine", ""))),
        ("space", f"{space} at {sizes} px" if sizes else space),
        ("data", bundle.data),
    )


def _usual_resolutions(space: str) -> tuple[int, ...]:
    """Those of a space that a bundle of an earlier version is of; none if there is no such space any more."""
    try:
        return open_space(space).resolutions
    except InvalidInputError:
        return ()


def _joined(parts: Iterable[str]) -> str:
    """Texts that are not empty, on lines that fit, without what matplotlib would take for a formula or cannot draw."""
    text = ", ".join(part for part in parts if part)
    drawable = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
    return "\n".join(textwrap.wrap(drawable.replace("$", r"\$"), LONGEST_LINE))


def _points(pairs: Sequence[tuple[float, OnDevice]]) -> list[Point]:
    points, best = [], -1.0
    for accuracy_pct, on in sorted(pairs, key=lambda pair: (pair[1].measured_ms, -pair[0])):
        points.append(Point(accuracy_pct, on, front=accuracy_pct > best))
        best = max(best, accuracy_pct)
    return points


def _draw_series(axes: "Axes", points: Sequence[Point], colour: str, label: str) -> None:
    """The front as a staircase, dominated points hollow, and how each compares with its prediction and its budget."""
    front = [point for point in points if point.front]
    last_ms = max(point.on.measured_ms for point in points)
    steps = [(point.on.measured_ms, point.accuracy_pct) for point in front]
    axes.step(
        [ms for ms, _ in steps] + [last_ms], [pct for _, pct in steps] + [steps[-1][1]],
        where="post", color=colour, linewidth=1.5, label=label or "Pareto front",
    )  # fmt: skip
    for point in points:
        on, pct = point.on, point.accuracy_pct
        ends = [[abs(end - on.measured_ms)] for end in on.interval_ms]
        axes.errorbar(
            [on.measured_ms], [pct], xerr=ends, marker="o", capsize=3, color=colour, linestyle="", zorder=3,
            markerfacecolor=colour if point.front else "white",
        )  # fmt: skip
        axes.plot([on.predicted_ms], [pct], "x", color="black", zorder=4, markersize=5)
        budget = f"{on.budget_ms:.4g} ms"
        if on.budget_ms <= FARTHEST_BUDGET * last_ms:
            axes.plot([on.measured_ms, on.budget_ms], [pct, pct], ":", color=colour, linewidth=1)
            axes.plot([on.budget_ms], [pct], "|", color=colour, markersize=12, markeredgewidth=2, zorder=3)
            where = on.budget_ms
        else:
            budget, where = f"{budget} →", on.measured_ms
        axes.annotate(
            budget, (where, pct), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=7, color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip


def draw_searches(place: Workspace) -> tuple[Path | None, list[str]]:
    """Draw what the newest searches scored as searches.png, None without any; and say which logs cannot be read."""
    logs, wrong = [], []
    for path in sorted(place.searches.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            logs.append(_Search.read(path))
        except InvalidInputError as error:
            wrong.append(str(error))
        if len(logs) == MAX_SEARCHES:
            break
    if not logs:
        return None, wrong
    figure = new_figure(7.5, 4 * len(logs))
    for panel, log in zip(figure.subplots(len(logs), 1, squeeze=False).flat, logs, strict=True):
        log.draw(panel)
    path = place.root / "searches.png"
    save_png(figure, path)
    return path, wrong


@dataclass(frozen=True)
class _Search:
    """A search's log: what was asked, and the costs and scores that were found, an array (n, 2) for each budget."""

    title: str
    limits: Sequence[Mapping[str, float]]
    found: Sequence[np.ndarray]

    @classmethod
    def read(cls, path: Path) -> "_Search":
        """The log in a file; raises InvalidInputError."""
        log = RecordLog.read(path, FORMAT, VERSION)
        header = Fields.of(log.header, str(path))
        limits = [Fields.of(one, f"limits of {path}") for one in header.items("limits")]
        if not limits or not all(one.values for one in limits):
            raise header.wrong("limits", "limits by name, for each budget")
        found: list[list[tuple[float, float]]] = [[] for _ in limits]
        for record in log.records:
            fields = Fields.of(record, f"a record of {path}")
            costs, scores = fields.numbers("costs"), fields.numbers("scores")
            if len(costs) != len(scores):
                raise fields.wrong("scores", f"{len(costs)} numbers")
            found[fields.integer("search", 0, len(limits) - 1)] += zip(costs, scores, strict=True)
        numbers = [{name: one.number(name) for name in one.values} for one in limits]
        return cls(_title(header), numbers, [np.array(pairs).reshape(-1, 2) for pairs in found])

    def draw(self, panel: "Axes") -> None:
        """Every architecture as a point, a colour for each budget, and a star for the best within its limit."""
        name = next(iter(self.limits[0]))
        unit, per_unit = _unit(name)
        panel.set(xlabel=_joined([f"{name} ({unit})" if unit else name]), ylabel="score")
        panel.set_title(_joined([self.title]), fontsize=10)
        for number, (limits, pairs) in enumerate(zip(self.limits, self.found, strict=True)):
            costs, scores, colour = pairs[:, 0] / per_unit, pairs[:, 1], f"C{number}"
            label = _joined(_limit_text(key, value, short=key == name) for key, value in limits.items())
            panel.scatter(costs, scores, s=3, alpha=0.3, color=colour, rasterized=True, label=f"{label}: {len(pairs)}")
            limit = limits.get(name, np.inf)
            panel.axvline(limit / per_unit, linestyle=":", color=colour, linewidth=1)
            within = pairs[pairs[:, 0] <= limit]
            if len(within):
                cost, score = within[within[:, 1].argmax()]
                panel.plot([cost / per_unit], [score], "*", color=colour, markersize=13, markeredgecolor="black")
        panel.plot([], [], "*", color="grey", markeredgecolor="black", label="best within the limit")
        panel.legend(
            title="limit: architectures scored", title_fontsize=8, loc="lower right", fontsize=8, markerscale=2
        )
        panel.grid(alpha=0.25)


def _title(header: Fields) -> str:
    """What a search was asked for, as far as its log says so."""
    parts = [header.text("space") if "space" in header else header.source]
    if "resolutions" in header:
        parts.append(f"at {'/'.join(f'{hw:g}' for hw in header.numbers('resolutions'))} px")
    if "tables" in header and header.record("tables").values:
        parts.append(f"on {', '.join(header.record('tables').values)}")
    title = " ".join(parts)
    if header.values.get("accuracy"):
        title += ", scored by MACs" if header.values["accuracy"] == "MACs" else ", scored by a predictor"
    return f"{title}, {header.text('algorithm')}" if header.values.get("algorithm") else title


def _unit(name: str) -> tuple[str, float]:
    return next((unit for begin, unit in UNITS.items() if name.startswith(begin)), ("", 1.0))


def _limit_text(name: str, value: float, *, short: bool) -> str:
    unit, per_unit = _unit(name)
    limit = f"up to {value / per_unit:.4g} {unit}".rstrip()
    return limit if short else f"{name} {limit}"
