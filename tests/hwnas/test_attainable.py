"""What is attainable is shown before it is asked for, and a budget far above a space names the spaces that fit it."""

import shlex
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from hwnas import costs
from hwnas.attainable import Range, advice, fitting
from hwnas.cli.steps import Job
from hwnas.cli.suggesting import specialize_command
from hwnas.search.limits import Limits
from hwnas.spaces import open_space
from lut.table import LatencyTable

from ..image_files import write_folders
from ..kit import small

DIGITS = open_space("digits")
pytestmark = pytest.mark.usefixtures("no_settings")


def test_both_ends_are_those_of_all_architectures():
    space = small(16, 32)
    every = np.array(list(product(*map(range, space.sizes))), np.intp)
    for cost in (costs.macs(space), costs.params(space)):
        assert Range.of(cost) == Range(cost(every).min(), cost(every).max())


def test_a_space_is_shown_with_what_each_table_lets_it_attain(hwnas, workspace, model):
    (shown,) = hwnas("space", "show", "digits", "--workspace", workspace, "--json").json
    assert shown["dimensions"][0] == {"name": "resolution", "choices": [40]} and shown["blocks"] == 60
    largest = DIGITS.layers(DIGITS.largest).values()
    assert shown["macs"][1] == sum(block.macs for block in largest)
    (found,) = shown["latency"]
    assert found["device"] == "host"
    assert (found["least_ms"], found["greatest_ms"]) == (model.least()[0], model.cost.greatest())
    assert "host: " in hwnas("space", "show", "--workspace", workspace).out


def test_a_table_is_shown_with_what_it_lets_its_spaces_attain(hwnas, workspace, model):
    out = hwnas("table", "show", "--runtime", "fake", "--workspace", workspace).out
    assert f"digits at 40: attainable from {model.least()[0]:.4g} ms to {model.cost.greatest():.4g} ms" in out


def test_a_budget_far_above_the_space_names_one_that_fits_and_what_to_type(model):
    takes = Range.of(model.cost)
    near, far = ({"host": factor * takes.greatest} for factor in (1.9, 100))
    command = "type {0.name}".format
    assert advice(near, DIGITS, {"host": takes}, command) == ""
    told = advice(far, DIGITS, {"host": takes}, command)
    first = fitting(far["host"], DIGITS, takes)[0]
    assert "100 times" in told and "an estimate" in told and "\n" not in told
    assert told.endswith(f"; type: type {first.space.name}") and "type:" not in advice(
        far, DIGITS, {"host": takes}, lambda _: ""
    )
    assert first.latency_ms.least <= far["host"]


def test_spaces_are_scaled_by_what_a_mac_takes_here(model):
    estimates = {one.space.name: one.latency_ms for one in fitting(1e9, DIGITS, Range.of(model.cost))}
    per_mac = (model.cost.greatest() - model.least()[0]) / (
        Range.of(costs.macs(DIGITS)).greatest - Range.of(costs.macs(DIGITS)).least
    )
    for name, found in estimates.items():
        assert found.greatest == pytest.approx(Range.of(costs.macs(open_space(name))).greatest * per_mac)
    assert "ofa-mbv3" in estimates and "digits" not in estimates


class BeganError(Exception):
    """Stands for work of minutes."""


@pytest.fixture
def stopping_at(monkeypatch):
    """Let commands end where they call one of these."""

    def stop(*places):
        def begin(*_, **__):
            raise BeganError

        for place in places:
            monkeypatch.setattr(place, begin)

    return stop


def note(err):
    (line,) = [line for line in err.splitlines() if "a larger space may do better" in line]
    return line


LIMITED = ("--macs", "3000M", "--params", "1.5G", "--memory", "1GiB", "--file-size", "90MB", "--confidence", "90")


@pytest.mark.parametrize("more", [(), ("--seed", "3", "--evaluations", "40", *LIMITED)], ids=["plain", "limited"])
def test_what_is_to_be_typed_asks_for_the_same_of_another_space(
    hwnas, workspace, stopping_at, monkeypatch, capsys, more, tmp_path
):
    stopping_at("hwnas.cli.specialising.ready_supernet")
    (workspace / "devices.toml").write_text("[toy]\n")
    (table,) = (workspace / "tables").glob("host-fake-*.jsonl")
    table.rename(table.with_name(table.name.replace("host", "toy")))
    ask = ("specialize", "--latency", "80ms", "--device", "toy", "--runtime", "fake", *more, "--workspace", workspace)
    with pytest.raises(BeganError):
        hwnas(*ask)
    program, *words = shlex.split(note(capsys.readouterr().err).split("; type: ")[1])
    assert program == "hwnas" and "imagefolder:FOLDER" in words  # digits have no images for it
    data = f"imagefolder:{write_folders(tmp_path / 'my photos', 'train', 'val', each=6, classes=2, hw=230)}"
    called = []
    monkeypatch.setattr("hwnas.cli.specialising.specialise_all", lambda *what, **_: called.append(what) or [])
    for command in ([data if word == "imagefolder:FOLDER" else word for word in words], ask):
        done = hwnas(*command)
        assert done.code == 0, done.err
    (jobs, asked), (first_jobs, first) = called
    assert asked == first
    job, first_job = jobs["toy"], first_jobs["toy"]
    assert (job.device, job.workspace, job.data) == (first_job.device, first_job.workspace, data)
    assert job.space.name == words[words.index("--space") + 1] != first_job.space.name


def test_images_that_fit_the_other_space_too_are_kept_and_several_devices(tmp_path):
    job = Job.of(tmp_path, "host", "fake", None, "photos@0.1", (32,), data := f"imagefolder:{tmp_path}/my photos")
    other, twin = open_space("ofa-mbv3"), replace(job, device=replace(job.device, name="twin", runtime="onnxruntime"))
    command = specialize_command({"host": 80.0, "twin": 0.5}, {"host": job, "twin": twin}, other, Limits())
    assert shlex.split(command) == [
        "hwnas", "specialize", "--space", "ofa-mbv3", "--data", data, "--latency",
        "host=80ms,twin=0.5ms", "--precision", "fp32", "--workspace", str(tmp_path),
    ]  # fmt: skip
    (tmp_path / "tables").mkdir()
    job.workspace.imported("twin").touch()
    assert specialize_command({"twin": 1.0}, {"host": job, "twin": twin}, other, Limits()) == ""


@pytest.mark.parametrize("command", ["search", "specialize"])
@pytest.mark.parametrize("profiled", [True, False])
def test_it_is_told_before_the_minutes_of_profiling_training_or_searching(
    hwnas, workspace, table, stopping_at, capsys, command, profiled
):
    stopping_at(
        "hwnas.cli.searching.ready_supernet", "hwnas.cli.specialising.ready_supernet", "hwnas.cli.steps.profile"
    )
    if not profiled:
        table.unlink()
    with pytest.raises(BeganError):
        hwnas(command, "--latency", "80ms", "--runtime", "fake", "--workspace", workspace)
    assert "80 ms is " in note(capsys.readouterr().err)
    if not profiled:
        assert not table.exists() or not LatencyTable.read(table).visits  # a first look is no entry


def test_what_was_told_before_profiling_is_not_told_again_behind_it(hwnas, workspace, table, stopping_at, capsys):
    table.unlink()
    stopping_at("hwnas.cli.searching.ready_supernet")
    with pytest.raises(BeganError):
        hwnas("search", "--latency", "80ms", "--runtime", "fake", "--workspace", workspace)
    assert note(capsys.readouterr().err)
