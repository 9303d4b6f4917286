"""The report's pictures: only what can be compared is joined, a front is a Pareto front, and every mark has a name."""

import json
from dataclasses import replace

import pytest

from hwnas.report import draw_front, draw_searches, series_of
from hwnas.workspace import Workspace

from .bundles import FINGERPRINT, RECORD, on_device, request


def bundle(measured_ms, accuracy, budget_ms=1.0, data="digit-pairs", device="host", asked=None, **settings):
    fingerprint = {**FINGERPRINT, **settings}
    on = on_device(device, budget_ms, measured_ms, fingerprint=fingerprint)
    return replace(RECORD, devices=(on,), accuracy=accuracy, data=data, request=asked)


@pytest.fixture
def texts(monkeypatch):
    """All figures that were saved, as the texts of each."""
    from matplotlib.text import Text

    found = []
    monkeypatch.setattr("hwnas.report.save_png", lambda figure, _: found.append(figure))

    def shown(number):
        found[number].canvas.draw()
        return [text.get_text() for text in found[number].findobj(Text) if text.get_text()]

    return shown


def test_only_what_can_be_compared_is_one_series():
    plain = bundle(0.1, 0.9)
    others = [
        bundle(0.1, 0.9, data="cifar10"), bundle(0.1, 0.9, device="pixel"), bundle(0.1, 0.9, precision="int8"),
        bundle(0.1, 0.9, threads=2), bundle(0.1, 0.9, batch=4), bundle(0.1, 0.9, runtime="litert"),
        bundle(0.1, 0.9, asked=request(resolutions=(32,))), bundle(0.1, 0.9, cpus="4,5"),
        replace(plain, arch="photos:40-1-3-3"), bundle(0.1, 0.9, machine="another"),
    ]  # fmt: skip
    assert len(series_of([plain, *others])) == 1 + len(others)
    assert len(series_of([plain, bundle(0.2, 0.8, 2.0), bundle(0.3, 0.95, asked=request())])) == 1


def test_a_network_for_two_devices_is_a_point_of_each():
    joint = replace(RECORD, devices=(on_device("host", 1, 0.5), on_device("pixel", 3, 2)))
    assert [[point.on.device for point in points] for points in series_of([joint]).values()] == [["host"], ["pixel"]]


def test_a_front_holds_what_nothing_else_beats():
    figures = [(0.3, 0.7), (0.1, 0.5), (0.2, 0.6), (0.25, 0.6), (0.2, 0.4), (0.4, 0.65), (0.1, 0.5)]
    (points,) = series_of([bundle(ms, accuracy) for ms, accuracy in figures]).values()
    front = [(point.on.measured_ms, round(point.accuracy_pct)) for point in points if point.front]
    assert front == [(0.1, 50), (0.2, 60), (0.3, 70)] and len(points) == len(figures)


def test_every_budget_and_series_is_named_and_no_name_comes_twice(tmp_path, texts):
    budgets = (0.064, 0.087, 0.126, 1e300)
    found = [bundle(0.06 + 0.01 * n, 0.9 + 0.01 * n, budget) for n, budget in enumerate(budgets)]
    draw_front(Workspace(tmp_path), [*found, bundle(0.05, 0.8, 0.064, precision="int8")])
    said = texts(0)
    assert {"0.064 ms", "0.087 ms", "0.126 ms", "1e+300 ms →"} <= set(said)
    assert "host, digits at 40 px, digit-pairs" in said
    for name in ("onnxruntime fp32", "onnxruntime int8", "predicted", "budget"):
        assert said.count(name) == 1


def test_names_that_a_picture_cannot_hold_are_drawn_all_the_same(tmp_path, texts):
    draw_front(Workspace(tmp_path), [bundle(0.06, 0.9, data="imagefolder:/$a$\n\x1b[31m/猫" + "x" * 300)])
    assert any("imagefolder" in text for text in texts(0))


def test_a_search_is_titled_by_what_was_asked_and_a_damaged_log_is_told(tmp_path, texts):
    place = Workspace(tmp_path)
    place.searches.mkdir()
    header = {
        "format": "hwnas-search", "version": 1, "space": "digits", "resolutions": [40], "tables": {"host": "0a1b"},
        "limits": [{"latency on host": 0.5, "number of MACs": 3e6}], "accuracy": "MACs", "algorithm": "evolution",
    }  # fmt: skip
    record = {"search": 0, "rows": "", "costs": [0.3, 0.45, 0.6], "scores": [0.5, 0.6, 0.7]}
    log = f"{json.dumps(header)}\n{json.dumps(record)}\n"
    (place.searches / "digits-0123456789ab.jsonl").write_text(log)
    damaged = ('"costs":"x"', '"scores":[1]', '"search":7', '"costs":[null,1,2]')
    for number, wrong in enumerate(damaged):
        key = wrong.partition(":")[0]
        changed = json.dumps({**record, **json.loads(f"{{{wrong}}}")})
        assert key in changed
        (place.searches / f"damaged{number}.jsonl").write_text(f"{json.dumps(header)}\n{changed}\n")
    picture, told = draw_searches(place)
    assert picture == tmp_path / "searches.png"
    assert sorted(line for line in told if "damaged" in line) == sorted(told) and len(told) == len(damaged)
    said = texts(0)
    assert "digits at 40 px on host, scored by MACs, evolution" in said
    assert "up to 0.5 ms, number of MACs up to 3 M: 3" in said and "latency on host (ms)" in said
    assert not any("0123456789ab" in text for text in said)
