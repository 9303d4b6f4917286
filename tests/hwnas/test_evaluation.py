"""How accurate subnets are found to be: each once, by any number of processes, kept in a log."""

from dataclasses import dataclass
from threading import Event, get_ident

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import top_k_accuracy_score

from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training import evaluate
from hwnas.training.evaluate import SubnetEvaluator, Tally, recalibrate, tally, wilson
from hwnas.training.objective import resized
from hwnas.training.weights import load_supernet, save_supernet
from lut.storage import TornRecordWarning
from profilers.errors import InvalidInputError

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
PLAN = {"recipe": "sandwich", "seed": 3, "lr": 0.1}
ARCHS = [SPACE.arch(row) for row in np.unique(SPACE.sample(4, np.random.default_rng(0)), axis=0)]


@dataclass
class Blobs:
    """Random images of five classes."""

    name: str = "blobs"
    classes: tuple[str, ...] = ("a", "b", "c", "d", "e")
    scaling: str = "as it is"
    shape: tuple[int, int, int] = (1, 8, 8)

    def batch(self, split, index, size):
        rng = np.random.default_rng([len(split), index, size])
        return rng.standard_normal((size, *self.shape), np.float32), rng.integers(0, 5, size)


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    for name, value in {"BATCH": 20, "CALIBRATION_BATCHES": 2, "VALIDATION_BATCHES": 2, "TEST_BATCHES": 2}.items():
        monkeypatch.setattr(evaluate, name, value)


@pytest.fixture
def supernet(tmp_path):
    save_supernet(Supernet(SPACE, seed=3), tmp_path / "supernet", data="blobs", plan=PLAN)
    return tmp_path / "supernet"


class Ending(Blobs):
    """The same, with an end."""

    def count(self, _):
        return 45

    def images(self, split, start, stop):
        return self.batch(split, start, stop - start)


def test_no_more_images_are_judged_by_than_there_are_or_than_say_more(supernet, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "MOST_DRAWN", 90)
    for dataset, expected in ((Ending(), 45), (Blobs(), 90)):
        log = tmp_path / f"{expected}.jsonl"
        evaluator = SubnetEvaluator(load_supernet(supernet), dataset, log, images=99_999_999_999)
        assert evaluator.validation(ARCHS[0]).images == evaluator.test(ARCHS[0]).images == expected


def test_images_that_would_take_much_memory_are_made_anew_and_judge_the_same(supernet, tmp_path, monkeypatch):
    kept = SubnetEvaluator(load_supernet(supernet), Blobs(), tmp_path / "kept.jsonl")
    assert isinstance(kept._validation, list)
    monkeypatch.setattr(evaluate, "KEPT_BYTES", 40 * 64 * 4 - 1)
    anew = SubnetEvaluator(load_supernet(supernet), Blobs(), tmp_path / "anew.jsonl")
    assert not isinstance(anew._validation, list)
    for arch in ARCHS:
        assert kept.validation(arch) == anew.validation(arch)


def test_a_log_that_has_the_path_as_it_was_typed_is_of_the_same_data(supernet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = SubnetEvaluator(load_supernet(supernet), Blobs(name="imagefolder:some"), tmp_path / "log.jsonl")
    known = first.validation(ARCHS[0])
    again = SubnetEvaluator(load_supernet(supernet), Blobs(name=f"imagefolder:{tmp_path}/some"), tmp_path / "log.jsonl")
    assert again.tallies == {ARCHS[0]: known}


@pytest.fixture
def judged(monkeypatch):
    """The accuracies that were really computed, in order."""
    found, real = [], evaluate.tally

    def counted(net, batches):
        found.append(real(net, batches))
        return found[-1]

    monkeypatch.setattr(evaluate, "tally", counted)
    return found


def evaluator(path, log=None, data=None, **options):
    return SubnetEvaluator(load_supernet(path), data or Blobs(), log or path.with_name("log"), **options)


def test_a_subnet_is_judged_once(supernet, judged):
    worker = evaluator(supernet)
    first = [worker.validation_accuracy(arch) for arch in ARCHS]
    assert [worker.validation_accuracy(arch) for arch in ARCHS] == first == [found.accuracy for found in judged]
    assert len(judged) == len(ARCHS)


def test_what_was_judged_before_is_read_from_the_log(supernet, judged):
    first = [evaluator(supernet).validation_accuracy(arch) for arch in ARCHS]
    judged.clear()
    later = evaluator(supernet)
    assert [later.validation_accuracy(arch) for arch in ARCHS] == first and judged == []


def test_the_log_survives_a_torn_line(supernet, judged):
    first = [evaluator(supernet).validation_accuracy(arch) for arch in ARCHS]
    log = supernet.with_name("log")
    log.write_bytes(log.read_bytes()[:-4])
    judged.clear()
    with pytest.warns(TornRecordWarning):
        worker = evaluator(supernet)
    assert len(worker.known) == len(ARCHS) - 1
    torn = next(arch for arch in ARCHS if arch not in worker.known)
    with pytest.warns(TornRecordWarning):
        worker.validation_accuracy(torn)
    assert [worker.validation_accuracy(arch) for arch in ARCHS] == first and len(judged) == 1
    assert [evaluator(supernet).known[arch] for arch in ARCHS] == first  # without a warning: the line is whole again


def test_a_log_of_other_weights_or_data_is_refused(supernet, tmp_path):
    evaluator(supernet).validation_accuracy(ARCHS[0])
    save_supernet(Supernet(SPACE, seed=4), tmp_path / "other", data="blobs", plan=PLAN)
    with pytest.raises(InvalidInputError, match="another supernet"):
        evaluator(tmp_path / "other")
    with pytest.raises(InvalidInputError, match="another supernet or data set"):
        SubnetEvaluator(load_supernet(supernet), Blobs(name="others"), tmp_path / "log")


@pytest.mark.parametrize(
    "line",
    [
        b'{"arch": 5, "images": 40, "top1": 1, "top5": 2}', b'{"images": 40, "top1": 1, "top5": 2}',
        b'{"arch": "x", "images": 40, "top1": [], "top5": 2}', b'{"arch": "digits:1", "accuracy": 0.5}',
    ],
)  # fmt: skip
def test_a_damaged_log_is_refused(supernet, tmp_path, line):
    evaluator(supernet)
    with (tmp_path / "log").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InvalidInputError):
        evaluator(supernet)


def test_judging_a_subnet_does_not_change_the_supernet(supernet):
    worker = evaluator(supernet)
    before = {key: value.clone() for key, value in worker.trained.net.state_dict().items()}
    worker.validation_accuracy(ARCHS[0])
    worker.test_accuracy(worker.subnet(ARCHS[1]))
    assert all(torch.equal(value, before[key]) for key, value in worker.trained.net.state_dict().items())


def test_an_accuracy_is_the_share_of_images_whose_label_gets_the_largest_logit(supernet):
    worker = evaluator(supernet)
    net = worker.subnet(ARCHS[0])
    right = total = 0
    for index in range(2):
        images, labels = Blobs().batch("test", index, 20)
        with torch.no_grad():
            for image, label in zip(images, labels, strict=True):
                right += int(net(torch.from_numpy(image[None])).argmax() == label)
                total += 1
    assert worker.test_accuracy(net) == right / total


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts):
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert wilson(*counts) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_top_1_and_top_5_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((300, 12)).astype(np.float32), np.r_[np.arange(12), rng.integers(0, 12, 288)]
    batches = [
        (torch.from_numpy(logits[part]), torch.from_numpy(labels[part])) for part in (slice(200), slice(200, 300))
    ]
    found = tally(lambda images: images, batches)
    assert found.images == 300
    assert found.accuracy == pytest.approx(top_k_accuracy_score(labels, logits, k=1))
    assert found.top5_accuracy == pytest.approx(top_k_accuracy_score(labels, logits, k=5))


def test_of_fewer_than_five_classes_the_right_one_is_always_among_the_first_five():
    assert tally(lambda images: images, [(torch.randn(7, 3), torch.zeros(7, dtype=torch.long))]).top5 == 7


def test_the_number_of_images_is_kept_even_where_it_fills_no_batch(supernet):
    for wanted in (1, 19, 20, 21, 50):
        assert evaluator(supernet, images=wanted).validation(ARCHS[0]).images == wanted
        assert evaluator(supernet, images=wanted).test(ARCHS[0]).images == wanted


def test_what_was_judged_by_another_number_of_images_is_another_figure(supernet, judged):
    evaluator(supernet, images=10).validation(ARCHS[0])
    assert not evaluator(supernet).known and list(evaluator(supernet, images=10).known) == [ARCHS[0]]
    evaluator(supernet).validation(ARCHS[0])
    assert [found.images for found in judged] == [10, 40]
    assert evaluator(supernet).tallies[ARCHS[0]].images == 40


class FewBlobs(Blobs):
    """Blobs of which there are 13 in a split."""

    def count(self, _split):
        return 13

    def images(self, *_):
        raise NotImplementedError


def test_images_that_a_data_set_does_not_have_are_not_counted_twice(supernet):
    worker = evaluator(supernet, data=FewBlobs())
    assert worker.validation(ARCHS[0]).images == 13 and worker.test(ARCHS[0]).images == 13


def test_test_accuracies_are_in_no_log(supernet):
    worker = evaluator(supernet)
    worker.test(ARCHS[0])
    assert not worker.known and not evaluator(supernet).known


def test_the_statistics_of_a_subnet_are_measured_once(supernet, monkeypatch):
    counted = []
    monkeypatch.setattr(evaluate, "recalibrate", lambda net, images: counted.append(recalibrate(net, images)))
    worker, fresh = evaluator(supernet), evaluator(supernet)
    once, again, other = worker.subnet(ARCHS[0]), worker.subnet(ARCHS[0]), fresh.subnet(ARCHS[0])
    assert len(counted) == 2
    for net in (again, other):
        assert all(torch.equal(value, net.state_dict()[key]) for key, value in once.state_dict().items())
    next(once.buffers()).zero_()
    assert not torch.equal(next(once.buffers()), next(worker.subnet(ARCHS[0]).buffers()))


def test_no_more_statistics_are_kept_than_memory_should_hold(supernet, monkeypatch):
    monkeypatch.setattr(evaluate, "STATISTICS_KEPT", 1)
    worker = evaluator(supernet)
    nets = [worker.subnet(arch) for arch in (ARCHS[0], ARCHS[1], ARCHS[0])]
    assert len(worker._statistics) == 1
    assert all(torch.equal(value, nets[2].state_dict()[key]) for key, value in nets[0].state_dict().items())


def test_a_subnet_is_judged_on_images_of_its_own_resolution(tmp_path):
    space = open_space("digits@0.1", resolutions=(8, 16), classes=5)
    save_supernet(Supernet(space, seed=3), tmp_path / "supernet", data="blobs", plan=PLAN)
    data = Blobs(shape=(1, 16, 16))
    for arch in (space.smallest, space.largest):
        net, hw = load_supernet(tmp_path / "supernet").net.extract(arch), space.resolution(arch)
        seen = [
            [(resized(torch.from_numpy(images), hw), torch.from_numpy(labels)) for images, labels in of_split]
            for of_split in (
                [data.batch("train", evaluate.FIRST_CALIBRATION_BATCH + n, 20) for n in range(2)],
                [data.batch("validation", n, 20) for n in range(2)],
            )
        ]
        recalibrate(net, [images for images, _ in seen[0]])
        assert {images.shape[-1] for images, _ in seen[1]} == {hw}
        assert evaluator(tmp_path / "supernet", data=data).validation(arch) == tally(net, seen[1])


def test_processes_find_what_one_alone_does_and_judge_nothing_twice(supernet, tmp_path, judged):
    known = evaluator(supernet, tmp_path / "many").validation_accuracy(ARCHS[0])
    alone = {arch: evaluator(supernet, tmp_path / "alone").validation(arch) for arch in ARCHS}
    judged.clear()
    worker = evaluator(supernet, tmp_path / "many")
    done = dict(worker.judge([*ARCHS, *ARCHS], workers=2))
    assert judged == []  # in this process
    assert set(done) == set(ARCHS[1:]) and worker.tallies == alone
    assert worker.known == {arch: found.accuracy for arch, found in alone.items()} and worker.known[ARCHS[0]] == known
    assert (tmp_path / "many").read_text().count("\n") == 1 + len(ARCHS)
    assert list(worker.judge(ARCHS, workers=2)) == []


@pytest.fixture
def three_threads():
    """As on a machine of three cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_threads_find_what_one_alone_does_each_on_one_core(supernet, tmp_path, monkeypatch, three_threads):
    cores, real = [], evaluate.tally
    monkeypatch.setattr(
        evaluate, "tally", lambda *both: cores.append((get_ident(), torch.get_num_threads())) or real(*both)
    )
    many = evaluator(supernet, tmp_path / "many")
    done = dict(many.judge([*ARCHS, *ARCHS]))
    assert torch.get_num_threads() == 3  # given back
    assert len({thread for thread, _ in cores}) > 1 and {threads for _, threads in cores} == {1}
    torch.set_num_threads(1)
    alone = evaluator(supernet, tmp_path / "alone")
    assert done == dict(alone.judge(ARCHS)) == many.tallies == evaluator(supernet, tmp_path / "many").tallies
    assert (tmp_path / "many").read_text().count("\n") == 1 + len(ARCHS)
    for arch in ARCHS:
        one, other = (worker.subnet(arch).state_dict() for worker in (many, alone))
        assert all(torch.equal(one[name], value) for name, value in other.items())


def test_no_image_is_made_twice(supernet, three_threads):
    made = []

    class Counted(Blobs):
        def batch(self, split, index, size):
            made.append((split, index))
            return super().batch(split, index, size)

    worker = evaluator(supernet, data=Counted())
    list(worker.judge(ARCHS))
    torch.set_num_threads(1)
    for arch in ARCHS:
        worker.test(arch)
        worker.test_accuracy(worker.subnet(arch))
    assert len(made) == len(set(made)) == 6


def test_threads_that_are_stopped_lose_nothing_that_they_finished_and_the_rest_goes_on(supernet, judged, three_threads):
    coming = evaluator(supernet).judge(ARCHS)
    next(coming)
    coming.close()
    later = evaluator(supernet)
    assert 1 <= len(judged) == len(later.known)
    assert set(later.known) | {arch for arch, _ in later.judge(ARCHS)} == set(ARCHS)
    assert len(judged) == len(ARCHS) == supernet.with_name("log").read_text().count("\n") - 1


def test_a_subnet_that_nobody_asks_for_any_more_is_left_at_the_next_batch(supernet):
    stopped, batches = Event(), [(torch.zeros(1, 1, 8, 8), torch.zeros(1))] * 2
    coming = evaluate.at_resolution(batches, 8, stopped)
    next(coming)
    stopped.set()
    with pytest.raises(evaluate.StoppedError):
        next(coming)


def test_no_more_subnets_are_judged_at_a_time_than_memory_should_hold(supernet, monkeypatch, three_threads):
    threads, real = set(), evaluate.tally
    monkeypatch.setattr(evaluate, "tally", lambda *both: threads.add(get_ident()) or real(*both))
    monkeypatch.setattr(evaluate, "MEMORY_SHARE", 0)
    list(evaluator(supernet).judge(ARCHS))
    assert threads == {get_ident()}


def test_whoever_stops_in_the_middle_has_what_was_judged_so_far(supernet):
    coming = evaluator(supernet).judge(ARCHS)
    first = [next(coming)[0] for _ in range(2)]
    coming.close()
    assert list(evaluator(supernet).known) == first == ARCHS[:2]
    assert [arch for arch, _ in evaluator(supernet).judge(ARCHS)] == ARCHS[2:]


def test_two_who_judge_the_same_subnet_at_once_log_it_once(supernet, judged):
    one, other = evaluator(supernet), evaluator(supernet)
    assert one.validation(ARCHS[0]) == other.validation(ARCHS[0])
    assert len(judged) == 2 and supernet.with_name("log").read_text().count("\n") == 2


def test_what_others_judged_meanwhile_is_taken_in(supernet, judged):
    one, other = evaluator(supernet), evaluator(supernet)
    one.validation(ARCHS[0])
    other.validation(ARCHS[1])
    assert isinstance(other.tallies[ARCHS[0]], Tally) and len(judged) == 2
