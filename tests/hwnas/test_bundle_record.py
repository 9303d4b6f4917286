"""bundle.json says all that is known of a bundle, and is read as strictly as it is written."""

import copy
import json
import os
import random
from dataclasses import replace

import pytest

from hwnas.export.bundle import read_bundles
from hwnas.export.record import NAME, BundleRecord
from hwnas.workspace import Workspace
from profilers.device import Device
from profilers.errors import InvalidInputError
from profilers.reading import Fields

from .bundles import RECORD, on_device, request, small_bundle

JOINT = replace(RECORD, devices=(on_device("host", 0.1, 0.09), on_device("twin", 0.2, 0.15)), request=request())
EARLIER = {key: value for key, value in RECORD.facts().items() if key != "request"}


@pytest.mark.parametrize(
    "record", [RECORD, JOINT, replace(RECORD, request=request(limits={"macs": 1e6}, available=True))]
)
def test_what_is_written_is_what_is_read(tmp_path, record):
    (tmp_path / NAME).write_bytes(record.content())
    assert BundleRecord.read(tmp_path / NAME) == record


def test_a_record_of_an_earlier_version_says_no_request():
    assert BundleRecord.of(Fields.of(EARLIER, "it")) == RECORD


def test_a_request_of_an_earlier_version_was_for_all_choices():
    facts = JOINT.facts()
    assert facts["request"].pop("available") is False
    assert BundleRecord.of(Fields.of(facts, "it")) == JOINT


def test_keys_of_a_later_version_are_kept():
    facts = {**JOINT.facts(), "energy_mj": 3, "devices": [{**one, "watts": 1} for one in JOINT.facts()["devices"]]}
    found = BundleRecord.of(Fields.of(facts, "it")).facts()
    assert found == facts


STRANGE = [
    None, True, -1, 0, 1.5, 1e308, 10**400, float("nan"), float("inf"), -float("inf"), "", "x", "\x1b[31m", "\ud800",
    [], [1], {}, {"a": 1}, [[[]]], "9" * 5000, "digits:" + "9" * 5000, "../../etc/passwd",
]  # fmt: skip


def places(value, path=()):
    """The path of every value within a value."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def mutated(facts, rng):
    """A record with one thing changed, as text."""
    changed = copy.deepcopy(facts)
    *way, last = rng.choice([path for path in places(facts) if path])
    inner = changed
    for key in way:
        inner = inner[key]
    how = rng.randrange(4)
    if how == 0:
        del inner[last]
    else:
        inner[last] = rng.choice(STRANGE)
    text = json.dumps(changed)
    if how == 1:  # the bytes themselves
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice(["", "{", "[" * 3000, "\x00", '"', "1e999", "9" * 400]) + text[place + 1 :]
    return text.encode("utf-8", "surrogatepass")


def test_whatever_a_record_holds_it_is_read_or_refused_in_one_line(tmp_path):
    rng, refused = random.Random(14), 0
    path = tmp_path / NAME
    for _ in range(500):
        path.write_bytes(mutated(rng.choice([JOINT.facts(), EARLIER]), rng))
        message = ""
        try:
            found = BundleRecord.read(path)
        except InvalidInputError as error:
            message, refused = str(error), refused + 1
        if message:
            assert str(path) in message and len(message) < 500 and message.isprintable()
        else:
            path.write_bytes(found.content())
            assert BundleRecord.read(path) == found
    assert refused > 300


@pytest.mark.parametrize("key", sorted(EARLIER))
def test_a_key_that_is_missing_or_of_another_kind_is_named(tmp_path, key):
    for facts in ({k: v for k, v in EARLIER.items() if k != key}, {**EARLIER, key: None}):
        (tmp_path / NAME).write_text(json.dumps(facts))
        with pytest.raises(InvalidInputError, match=key) as caught:
            BundleRecord.read(tmp_path / NAME)
        assert str(tmp_path / NAME) in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with names")
def test_a_pipe_is_no_record_and_no_model(tmp_path):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(InvalidInputError):
        BundleRecord.read(tmp_path / NAME)
    place = tmp_path / "bundles" / "one"
    small_bundle(place)
    (place / "model.onnx").unlink()
    os.mkfifo(place / "model.onnx")
    assert read_bundles(place.parent)[0] == []


def test_a_bundle_whose_model_was_altered_or_is_gone_is_left_out_and_others_are_shown(hwnas, tmp_path):
    bundles = tmp_path / "bundles"
    for name, budget_ms in (("altered", 0.1), ("gone", 0.2), ("damaged", 0.3), ("whole", 0.4), ("edited", 0.5)):
        small_bundle(bundles / name, devices=(on_device("host", budget_ms, 0.9 * budget_ms),))
    (bundles / "altered" / "model.onnx").write_bytes(b"other")
    (bundles / "gone" / "model.onnx").unlink()
    (bundles / "damaged" / NAME).write_text("{")
    (bundles / "edited" / "predict.py").write_text("mine")
    done = hwnas("report", "--workspace", tmp_path, "--json")
    assert done.code == 3
    assert [facts["bundle"] for facts in done.json] == [str(bundles / "whole"), str(bundles / "edited")]
    for part in ("altered/model.onnx", "gone/model.onnx", f"damaged/{NAME}", "edited/predict.py"):
        assert part in done.err
    assert "whole" not in done.err and "Traceback" not in done.err


HOST = Device(name="host", runtime="fake")


def test_the_folder_of_a_plain_request_has_a_plain_name_and_every_other_request_another(tmp_path):
    def name(**changed):
        asked = request(**changed)
        return Workspace(tmp_path).bundle([HOST], asked.space, asked.budget_ms, asked.suffix((40,), "digit-pairs")).name

    assert name() == "host-fake-fp32-t1-b1-digits-0.1ms"
    assert name(budget_ms={"host": 9e-3}) == name(budget_ms={"host": 9 * 1e-3}) == "host-fake-fp32-t1-b1-digits-0.009ms"
    others = [
        {"limits": {"macs": 1e6}}, {"limits": {"macs": 1.0000001e6}}, {"limits": {"params": 1e6}}, {"data": "cifar10"},
        {"resolutions": (32, 40)}, {"space": "digits@0.5"}, {"budget_ms": {"host": 0.1234567}},
        {"budget_ms": {"host": 0.1234568}}, {"limits": {"macs": 1e6, "confidence_pct": 95.0}},
        {"available": True}, {"available": True, "limits": {"macs": 1e6}},
    ]  # fmt: skip
    assert len({name(), *(name(**other) for other in others)}) == 1 + len(others)
    assert name(limits={"macs": 1e6}).startswith("host-fake-fp32-t1-b1-digits-0.1ms-")


def test_the_folder_of_a_network_for_many_devices_has_a_name_that_file_systems_take(tmp_path):
    devices = [Device(name=f"telephone-number-{number}", runtime="fake") for number in range(12)]
    names = set()
    for last_ms in (1.0, 2.0):
        budget_ms = {device.name: 3.0 for device in devices} | {devices[-1].name: last_ms}
        names.add(Workspace(tmp_path).bundle(devices, "digits", budget_ms).name)
    assert len(names) == 2 and all(len(name) <= 200 for name in names)
