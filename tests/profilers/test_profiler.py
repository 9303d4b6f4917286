"""The local profiler times what it is given, names what fails, and leaves the process as it found it."""

import gc
import os
from collections.abc import Iterator

import numpy as np
import pytest

from profilers.backends import fake
from profilers.device import Device, fingerprint
from profilers.errors import DeviceError, InvalidInputError
from profilers.formats import ModelFile, write
from profilers.graph import Graph
from profilers.local import LOADS, SMALL_MS, sentinel_graph
from profilers.measurement import Plan, Visit, calm_sentinel_ms, undisturbed
from profilers.profiler import open_profiler

TOY = Device(name="toy", runtime="fake")
PLAN = Plan(target_pct=1.0, warmup_runs=1)
ALLOWED = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
pins_threads = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no threads")


def model(chs: int) -> ModelFile:
    graph = Graph((1, 8, 16, 16))
    weight = np.ones((chs, 8, 3, 3), np.float32)
    return write(graph.finish(graph.conv(graph.input, weight, np.zeros(chs, np.float32))), "onnx")


MODELS = {f"{chs} channels": model(chs) for chs in (8, 64, 256)}


def test_measured_medians_are_what_the_device_costs() -> None:
    visits: dict[str, list[Visit]] = {name: [] for name in MODELS}
    with open_profiler(TOY) as profiler:
        for found in profiler.measure(MODELS, PLAN):
            for name, visit in found.visits.items():
                visits[name].append(visit)
    calm_ms = calm_sentinel_ms([visit for of_one in visits.values() for visit in of_one])
    for name, content in MODELS.items():
        measured = undisturbed(visits[name], calm_ms)
        assert measured.converged(PLAN)
        assert abs(measured.latency_ms / fake.price_ms(content.content) - 1) < 0.01


def test_measuring_on_this_machine_gives_positive_times_for_all() -> None:
    with open_profiler(Device(name="host")) as profiler:
        rounds = list(profiler.measure(MODELS, Plan(target_pct=1.0, max_rounds=3, warmup_runs=1)))
    assert len(rounds) == 3
    assert all(set(found.visits) == set(MODELS) for found in rounds)
    assert all(min(visit.ms, visit.sentinel_ms) > 0 for found in rounds for visit in found.visits.values())


def test_an_interrupted_measurement_goes_on_where_it_was() -> None:
    plan = Plan(target_pct=0.0, max_rounds=9, warmup_runs=1)
    with open_profiler(TOY) as profiler:
        first = [found for found, _ in zip(profiler.measure(MODELS, plan), range(4), strict=False)]
        earlier = {name: [found.visits[name] for found in first] for name in MODELS}
        assert len(list(profiler.measure(MODELS, plan, earlier))) == 9 - 4


def test_a_model_that_the_device_refuses_is_named() -> None:
    for runtime in ("fake", "onnxruntime"):
        with open_profiler(Device(name="toy", runtime=runtime)) as profiler:
            with pytest.raises(DeviceError, match="the broken one") as refused:
                list(profiler.measure({**MODELS, "the broken one": ModelFile("onnx", b"garbage")}, PLAN))
            assert refused.value.exit_code == 4


def test_a_model_of_another_format_is_refused() -> None:
    with open_profiler(TOY) as profiler, pytest.raises(InvalidInputError, match=r"odd is a tflite file; .* takes onnx"):
        list(profiler.measure({"odd": ModelFile("tflite", b"")}, PLAN))


def test_the_profiler_tells_the_fingerprint_of_its_device() -> None:
    with open_profiler(TOY) as profiler:
        assert profiler.fingerprint() == fingerprint(TOY)
        assert profiler.device is TOY


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[set[int], bool]]]:
    """What each run of a model sees: the CPUs it may use, and whether garbage is collected."""
    found: list[tuple[set[int], bool]] = []

    def load(content: bytes, device: Device):
        def run() -> float:
            found.append((os.sched_getaffinity(0), gc.isenabled()))
            return 1.0

        return run

    monkeypatch.setattr(fake, "load", load)
    yield found
    os.sched_setaffinity(0, ALLOWED)
    gc.enable()


@pins_threads
def test_runs_are_pinned_without_garbage_collection_and_the_caller_is_not(seen: list[tuple[set[int], bool]]) -> None:
    with open_profiler(TOY) as profiler:
        for _ in profiler.measure(MODELS, Plan(target_pct=0.0, max_rounds=3)):
            assert (os.sched_getaffinity(0), gc.isenabled()) == (ALLOWED, True)
    assert seen and all(during == ({max(ALLOWED)}, False) for during in seen)
    assert (os.sched_getaffinity(0), gc.isenabled()) == (ALLOWED, True)


@pins_threads
def test_runs_are_pinned_to_the_cpus_a_device_names(seen: list[tuple[set[int], bool]]) -> None:
    chosen = min(ALLOWED)
    with open_profiler(Device(name="toy", runtime="fake", cpus=(chosen,))) as profiler:
        next(iter(profiler.measure(MODELS, PLAN)))
    assert {frozenset(cpus) for cpus, _ in seen} == {frozenset({chosen})}


@pins_threads
def test_garbage_collection_stays_off_where_the_caller_switched_it_off(seen: list[tuple[set[int], bool]]) -> None:
    gc.disable()
    with open_profiler(TOY) as profiler:
        next(iter(profiler.measure(MODELS, PLAN)))
    assert not gc.isenabled()


@pins_threads
def test_an_error_in_a_run_leaves_the_process_as_it_was(
    seen: list[tuple[set[int], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(content: bytes, device: Device):
        raise DeviceError("unplugged")

    monkeypatch.setattr(fake, "load", load)
    with open_profiler(TOY) as profiler, pytest.raises(DeviceError, match="unplugged"):
        list(profiler.measure(MODELS, PLAN))
    assert (os.sched_getaffinity(0), gc.isenabled()) == (ALLOWED, True)


@pins_threads
def test_cpus_that_are_not_there_are_refused() -> None:
    device = Device(name="toy", runtime="fake", cpus=(0, 100_000))
    with open_profiler(device) as profiler, pytest.raises(InvalidInputError, match=r"CPUs .*100000.* not there"):
        list(profiler.measure(MODELS, PLAN))


def test_the_sentinel_is_the_same_model_every_time_and_small() -> None:
    first, second = (write(sentinel_graph(batch=1), "onnx").content for _ in range(2))
    assert first == second
    assert write(sentinel_graph(batch=2), "onnx").content != first
    assert fake.price_ms(first) < 1


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were loaded; the nth load of a file takes as much longer than its price as `LUCK` says."""
    found: list[bytes] = []

    def load(content: bytes, device: Device):
        found.append(content)
        took_ms = fake.price_ms(content) * LUCK[(found.count(content) - 1) % len(LUCK)]
        return lambda: took_ms

    monkeypatch.setattr(fake, "load", load)
    return found


LUCK = (1.08, 1.02, 1.0, 1.05)


def test_models_that_fit_a_cache_are_loaded_several_times_and_larger_ones_once(loaded: list[bytes]) -> None:
    with open_profiler(TOY) as profiler:
        rounds = list(profiler.measure(MODELS, Plan(target_pct=0.0, max_rounds=2 * LOADS)))
    small = {name for name, file in MODELS.items() if fake.price_ms(file.content) * LUCK[0] < SMALL_MS}
    assert 0 < len(small) < len(MODELS)
    for name, file in MODELS.items():
        assert loaded.count(file.content) == (LOADS if name in small else 1)
        visited = [found.visits[name].ms / fake.price_ms(file.content) for found in rounds]
        assert visited == pytest.approx(list(LUCK) * 2 if name in small else [LUCK[0]] * 2 * LOADS)


def test_the_sentinel_is_the_fastest_of_its_loads(loaded: list[bytes]) -> None:
    with open_profiler(TOY) as profiler:
        (found,) = profiler.measure(MODELS, Plan(target_pct=0.0, max_rounds=1))
        sentinel = profiler.model(sentinel_graph(TOY.batch), inner=True).content
    assert loaded.count(sentinel) == LOADS
    assert {visit.sentinel_ms for visit in found.visits.values()} == {fake.price_ms(sentinel) * min(LUCK)}
