"""A supernet is trained into its folder: what is there stays until the new one is, whatever happens on the way."""

import csv
import shutil
from dataclasses import replace
from typing import ClassVar

import filelock
import pytest
import torch

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.noise import Noise
from hwnas.training.plan import TrainPlan
from hwnas.training.precision import Precision
from hwnas.training.recipes import open_recipe
from hwnas.training.run import Begun, Run
from hwnas.training.supernet_training import SupernetTraining
from hwnas.training.weights import DataChangedWarning, load_supernet, read_tensors
from profilers.errors import InvalidInputError

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
PLAN = TrainPlan(steps=3, batch=4, lr=0.05)
OTHER = replace(PLAN, seed=5)
MORE = replace(PLAN, steps=5)
TIMES = ("images/s", "seconds")


class BrokenError(Exception):
    """Stands for a power cut."""


class Counted(Noise):
    """Images of noise; it knows which training batches were drawn."""

    drawn: ClassVar[list[int]] = []

    def batch(self, split, index, size):
        if split == "train" and index < 1_000_000:  # not those that norms are measured on
            self.drawn.append(index)
        return super().batch(split, index, size)


@pytest.fixture(autouse=True)
def drawn():
    Counted.drawn.clear()
    return Counted.drawn


def training(folder, plan=PLAN, classes="abcde", listing="", **options):
    data = Counted((1, 8, 8), tuple(classes))
    data.listing = listing
    return SupernetTraining(SPACE, data, plan, folder / "s" / "supernet.safetensors", data.name, every_s=0.0, **options)


def supernet(folder):
    return folder / "s" / "supernet.safetensors"


def broken_at(step):
    def report(task, fraction, note):
        if note.startswith(f"step {step} "):
            raise BrokenError

    return report


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(folder):
    with (folder / "s" / "metrics.csv").open(newline="") as file:
        return [{name: text for name, text in row.items() if name not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders with a finished supernet: by PLAN, by OTHER, and by PLAN and then further by MORE."""
    found = {}
    for name, plans in {"plain": [PLAN], "other": [OTHER], "further": [PLAN, MORE]}.items():
        found[name] = tmp_path_factory.mktemp(name)
        for plan in plans:
            training(found[name], plan).run()
    return found


@pytest.fixture
def finished(made, tmp_path):
    """A folder with a supernet that was trained by PLAN."""
    shutil.copytree(made["plain"], tmp_path, dirs_exist_ok=True)
    return tmp_path


def same_as(folder, expected):
    return content(folder / "s").keys() == content(expected / "s").keys() and (
        supernet(folder).read_bytes() == supernet(expected).read_bytes() and lines(folder) == lines(expected)
    )


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_restart_broken_anywhere_keeps_the_old_supernet_and_goes_on(finished, made, drawn, step):
    before = content(finished / "s")
    with pytest.raises(BrokenError):
        training(finished, OTHER, report=broken_at(step)).run(restart=True)
    now = content(finished / "s")
    assert {name: now[name] for name in before} == before
    drawn.clear()
    assert training(finished, OTHER).run(restart=True) == 3
    assert drawn == list(range(step - 1, 3)) and same_as(finished, made["other"])


def test_a_restart_of_the_same_settings_trains_anew(finished, drawn):
    before = content(finished / "s")
    assert training(finished).run(restart=True) == 3 and drawn == [0, 1, 2]
    assert supernet(finished).read_bytes() == before["supernet.safetensors"]


def test_a_training_that_was_begun_by_restart_goes_on_without_it_too(finished, made, drawn):
    with pytest.raises(BrokenError):
        training(finished, OTHER, report=broken_at(3)).run(restart=True)
    drawn.clear()
    assert training(finished, OTHER).run() == 3 and drawn == [2] and same_as(finished, made["other"])


def test_a_restart_keeps_an_unfinished_training_until_the_new_supernet_is_there(tmp_path, made):
    with pytest.raises(BrokenError):
        training(tmp_path, report=broken_at(3)).run()
    before = content(tmp_path / "s")
    with pytest.raises(BrokenError):
        training(tmp_path, OTHER, report=broken_at(3)).run(restart=True)
    now = content(tmp_path / "s")
    assert {name: now[name] for name in before} == before
    assert training(tmp_path, OTHER).run(restart=True) == 3 and same_as(tmp_path, made["other"])


def test_a_second_restart_of_other_settings_begins_anew(finished, made, drawn):
    with pytest.raises(BrokenError):
        training(finished, replace(PLAN, seed=9), report=broken_at(3)).run(restart=True)
    drawn.clear()
    assert training(finished, OTHER).run(restart=True) == 3 and drawn == [0, 1, 2] and same_as(finished, made["other"])


@pytest.mark.parametrize("change", [{"recipe": "typo"}, {"accumulate": 3}], ids=str)
def test_a_restart_that_cannot_be_leaves_every_file_as_it_is(finished, change):
    for step in (2, None):  # with a training under way, too
        if step:
            with pytest.raises(BrokenError):
                training(finished, OTHER, report=broken_at(step)).run(restart=True)
        before = content(finished)
        with pytest.raises(InvalidInputError):
            training(finished, replace(OTHER, **change)).run(restart=True)
        assert content(finished) == before


@pytest.mark.parametrize(("classes", "told"), [("abcdX", "X instead of e"), ("abced", "the same in another order")])
def test_renamed_classes_are_noticed_before_a_training_goes_on_or_further(finished, tmp_path, classes, told):
    unfinished = tmp_path / "unfinished"
    with pytest.raises(BrokenError):
        training(unfinished, report=broken_at(3)).run()
    for folder, plan in ((unfinished, PLAN), (finished, MORE)):
        before = content(folder)
        with pytest.raises(InvalidInputError, match=f"other classes than .*: {told}; rename them"):
            training(folder, plan, classes).run()
        assert content(folder) == before
        assert training(folder, plan).run() == plan.steps


def test_changed_files_of_the_same_classes_are_told_and_trained_on(tmp_path, drawn):
    with pytest.raises(BrokenError):
        training(tmp_path, listing="then", report=broken_at(3)).run()
    drawn.clear()
    with pytest.warns(DataChangedWarning, match="the files of noise have changed"):
        assert training(tmp_path, listing="now").run() == 3
    assert drawn == [2]
    with pytest.warns(DataChangedWarning, match="the files of noise have changed"):
        assert training(tmp_path, MORE, listing="later").run() == 5


def test_a_restart_with_renamed_classes_begins_anew_and_not_where_the_other_was(finished, drawn):
    with pytest.raises(BrokenError):
        training(finished, OTHER, report=broken_at(3)).run(restart=True)
    drawn.clear()
    assert training(finished, OTHER, "abcdX").run(restart=True) == 3 and drawn == [0, 1, 2]
    assert load_supernet(supernet(finished)).class_names == tuple("abcdX")


@pytest.mark.parametrize("step", [4, 5])
def test_more_steps_train_the_finished_weights_further(finished, made, drawn, step):
    before = content(finished / "s")
    with pytest.raises(BrokenError):
        training(finished, MORE, report=broken_at(step)).run()
    now = content(finished / "s")
    assert {name: now[name] for name in before} == before
    drawn.clear()
    assert training(finished, MORE).run() == 5
    assert drawn == list(range(step - 1, 5)) and same_as(finished, made["further"])


def test_a_supernet_says_in_which_trainings_its_weights_were_made(made):
    first, further = load_supernet(supernet(made["plain"])), load_supernet(supernet(made["further"]))
    assert first.parts == [] and further.plan == first.plan | {"steps": 5}
    assert further.parts == [
        {"steps": 3, "time_s": 0.0, "supernet": ""},
        {"steps": 2, "time_s": 0.0, "supernet": first.sha256},
    ]
    assert further.sha256 != first.sha256  # what was evaluated of the old weights is not that of the new ones


def test_rates_begin_with_another_warm_up_and_metrics_go_on(made):
    first, further = lines(made["plain"]), lines(made["further"])
    assert further[:3] == first and [row["step"] for row in further] == list("12345")
    assert float(further[3]["lr"]) == pytest.approx(PLAN.lr) and float(further[2]["lr"]) < PLAN.lr / 2


def test_the_same_steps_again_are_done_already_and_fewer_are_refused(finished, drawn):
    before = content(finished)
    assert training(finished).run() == 0 and not drawn
    with pytest.raises(InvalidInputError, match="trained for 3 steps already: more --steps"):
        training(finished, replace(PLAN, steps=2)).run()
    assert content(finished) == before


def test_other_settings_do_not_train_a_supernet_further(finished):
    before = content(finished)
    for change in ({"lr": 0.1}, {"recipe": "uniform"}, {"seed": 1}):
        with pytest.raises(InvalidInputError, match="other settings: give those to train it further, or --restart"):
            training(finished, replace(MORE, **change)).run()
    assert content(finished) == before


def test_the_same_time_again_trains_as_long_again(tmp_path):
    plan, steps = replace(PLAN, time_s=0.01), []
    for _ in range(3):
        steps.append(training(tmp_path, plan).run())
    assert steps == sorted(set(steps)) and steps[0] > 0
    found = load_supernet(supernet(tmp_path))
    assert sum(part["steps"] for part in found.parts) == found.plan["steps"] == steps[-1] and len(found.parts) == 3


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("plan", [PLAN, MORE, replace(PLAN, time_s=0.01)], ids=["first", "more steps", "time"])
def test_killed_just_after_the_supernet_is_written_nothing_is_trained_twice(
    tmp_path, finished, monkeypatch, plan, drawn, restart
):
    def cut(self, folder):
        raise BrokenError

    if plan is PLAN:
        shutil.rmtree(tmp_path / "s")
    with monkeypatch.context() as patch:
        patch.setattr(SupernetTraining, "_clear_up", cut)
        with pytest.raises(BrokenError):
            training(tmp_path, plan).run(restart=restart)
    before = supernet(tmp_path).read_bytes()
    drawn.clear()
    training(tmp_path, plan).run(restart=restart)
    assert not drawn and supernet(tmp_path).read_bytes() == before
    assert content(tmp_path / "s").keys() == {"supernet.safetensors", "metrics.csv"}
    steps = [int(row["step"]) for row in lines(tmp_path)]
    assert steps == list(range(1, load_supernet(supernet(tmp_path)).plan["steps"] + 1))


def test_two_trainings_of_one_supernet_do_not_run_at_once(finished):
    before = content(finished / "s")
    with filelock.FileLock(finished / "s.lock"):
        for restart in (False, True):
            with pytest.raises(InvalidInputError, match="being trained by another hwnas process: wait for it"):
                training(finished, MORE).run(restart=restart)
    assert content(finished / "s") == before
    assert training(finished, MORE).run() == 5


def test_a_damaged_checkpoint_is_told_and_kept(finished):
    with pytest.raises(BrokenError):
        training(finished, MORE, report=broken_at(5)).run()
    path = finished / "s" / "next" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    before = content(finished)
    for plan, restart in ((MORE, False), (MORE, True), (OTHER, True)):
        with pytest.raises(InvalidInputError, match=str(path)):
            training(finished, plan).run(restart=restart)
    assert content(finished) == before


def test_a_recipe_with_phases_trains_a_finished_net_in_its_last_phase():
    net, begun = Supernet(SPACE), Begun("0" * 64, 100, [])
    recipe, precision = open_recipe("progressive"), Precision.best(torch.device("cpu"))
    first = Run.begin(net, recipe, PLAN, precision, "noise")
    further = Run.begin(net, recipe, PLAN, precision, "noise", begun)
    assert [first.phase(progress) for progress in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert [further.phase(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([0.8, 0.9, 1.0])
    assert further.step == 100 and further.steps == 0


def test_an_unfinished_training_further_holds_the_weights_it_went_on_from(finished):
    with pytest.raises(BrokenError):
        training(finished, MORE, report=broken_at(5)).run()
    header = read_tensors(finished / "s" / "next" / "checkpoint.safetensors")[1]
    assert header["begun"]["supernet"] == load_supernet(supernet(finished)).sha256 and header["step"] == 4
    with pytest.raises(InvalidInputError, match=r"another training run .* remove that file"):
        training(finished, replace(MORE, steps=9)).run()
