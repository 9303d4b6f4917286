"""What holds of a phone over adb and of a board over ssh alike, for whoever types the commands."""

import json

import numpy as np
import pytest

from lut.blocks import chain
from lut.layers import random_weights
from profilers import remote
from profilers.formats import write
from profilers.local import sentinel_graph

from ..kit import TINY, Outcome
from .sabotage import settle
from .scenes import Scene, brief, scene

__all__ = ["brief"]


@pytest.fixture(params=[pytest.param("phone", marks=pytest.mark.adb), pytest.param("board", marks=pytest.mark.ssh)])
def on(request: pytest.FixtureRequest, tmp_path, capsys, brief) -> Scene:
    """The scene of either."""
    return scene(request.getfixturevalue(request.param), tmp_path, capsys)


def test_a_device_is_checked_in_ten_seconds(on: Scene) -> None:
    settle(on)
    checked = on.hwnas("devices", "check", on.name, "--json")
    if checked.code == 5:  # on a busy machine the two times may well differ
        assert f"{on.name} works, but the same model took" in checked.complaint
    else:
        assert checked.code == 0 and checked.json["visits"] >= 10
        assert checked.json["apart_pct"] < 5 and 0.001 < checked.json["latency_ms"] < 100
        assert checked.json["seconds"] < 20
    on.assert_nothing_left()


def test_a_device_that_is_lost_does_not_stop_the_host(on: Scene) -> None:
    with on.in_mid_run(on.device.kill):
        done = on.profile(f"{on.name},host")
    assert done.code == 4
    of_device, of_host = done.json
    assert of_device["exit_code"] == 4 and "given up after 6 s" in of_device["error"]
    assert of_host["models"] > 20 and "error" not in of_host
    on.device.start()
    both = on.profile(f"{on.name},host")
    assert both.code == 0 and [facts["device"] for facts in both.json] == [on.name, "host"]
    on.assert_whole(Outcome(0, json.dumps(both.json[:1]), ""))


def test_one_device_under_two_names_is_measured_under_one_after_the_other(on: Scene) -> None:
    (settings,) = (on.workspace / "devices.toml").read_text().split("\n\n")
    twin = settings.replace(f'["{on.name}"]', '["twin"]') + 'precision = "int8"\n'
    (on.workspace / "devices.toml").write_text(f"{settings}\n{twin}")
    both = on.profile(f"{on.name},twin")
    assert both.code == 0 and [facts["device"] for facts in both.json] == [on.name, "twin"]
    on.assert_nothing_left()


def test_a_device_that_gets_hot_is_left_alone_and_the_table_says_so(on: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "STRETCH_S", 0.3)  # so that rounds are still to come when heat is noticed,
    monkeypatch.setattr(remote, "LOADING_SHARE", 0.0)  # on a busy machine, too, where models take long to load
    cpu = on.device.sys / "devices/system/cpu/cpu0/cpufreq"
    cpu.mkdir(parents=True)
    allowed = cpu / "scaling_max_freq"
    allowed.write_text("2000000\n")
    with on.in_mid_run(lambda: allowed.write_text("1500000\n")):
        done = on.profile("", "--cooldown", "1s")
    on.assert_whole(done)
    assert f"{on.name}: it got slower by heat: left alone for 1 s\n" in done.err
    seen = [state["allowed_mhz"] for state in on.table.states]
    assert seen[0] == 2000 and seen[-1] == 1500


def test_ones_own_files_are_measured_on_a_device_and_compared(on: Scene, tmp_path) -> None:
    one, other = (tmp_path / name for name in ("my net.onnx", "Größeres.onnx"))
    one.write_bytes(write(sentinel_graph(1), "onnx").content)
    weights = random_weights(np.random.default_rng(0))
    other.write_bytes(write(chain([(b, weights) for b in TINY.layers(TINY.largest).values()]), "onnx").content)
    done = on.hwnas("measure", one, other, "--device", on.name, "--quick", "--json")
    assert done.code == 0, done.err
    first, second = done.json
    assert [facts["file"] for facts in done.json] == [str(one), str(other)]
    for facts in done.json:
        low, high = facts["interval_ms"]
        assert facts["device"] == on.name and 0 < low <= facts["latency_ms"] <= high < 100
        assert facts["all"]["repetitions"] >= 20 and facts["load_ms"] is None  # of this machine alone that is known
    assert first["ratio"] is None and second["ratio"] > 0
    on.assert_nothing_left()
    shown = on.hwnas("measure", one, "--device", on.name, "--quick")
    assert shown.code == 0 and on.name in shown.out and "not known" in shown.out
    one.write_bytes(b"no model")
    refused = on.hwnas("measure", one, "--device", on.name)
    assert refused.code == 3 and "is no ONNX model" in refused.refusal
    on.assert_nothing_left()
