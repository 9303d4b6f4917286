"""Every command does what it says, prints JSON that is stable, and hands over files that hold what it claims."""

import hashlib
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import hwnas as package
from hwnas.export.parity import run_file
from hwnas.spaces import open_space
from hwnas.training import evaluate
from hwnas.training.datasets import open_dataset
from lut.table import LatencyTable
from profilers import formats
from profilers.backends.fake import price_ms
from profilers.errors import DeviceError
from profilers.formats import ModelFile
from profilers.local import sentinel_graph

FAKE = ("--runtime", "fake")
NET = {"arch", "device", "budget_ms", "predicted_ms", "accuracy", "macs", "params", "evaluations"}
CANDIDATE = NET | {"resolution", "peak_activation_bytes", "accuracy_of", "seconds"}
SPECIALISED = NET | {
    "validation_accuracy", "measured_ms", "interval_ms", "raw_ms", "budget_use", "max_difference", "attempts", "files",
    "bundle",
}  # fmt: skip
BUNDLE = SPECIALISED - {"bundle"} | {
    "fingerprint", "table_sha256", "supernet_sha256", "data", "seed", "command", "hwnas", "created", "request",
}  # fmt: skip
DIGITS = open_space("digits")

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


def budget_ms(model, share):
    """A budget `share` of the way from the fastest to the largest architecture."""
    least, _ = model.least()
    return least + share * (float(model.latency_ms(DIGITS.row(DIGITS.largest)[None])[0]) - least)


@pytest.fixture
def specialised(hwnas, workspace, model):
    """The facts of one bundle, as JSON."""
    limit = budget_ms(model, 0.4)
    done = hwnas("specialize", "--latency", f"{limit:.4f}ms", *FAKE, "--workspace", workspace, "--json", "--no-auto")
    assert done.code == 0, done.err
    return done.only


def writable_formats():
    """The formats whose writers are installed here."""
    for name in formats.names():
        with suppress(DeviceError):
            yield formats.write(sentinel_graph(1), name).format


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_version_is_that_of_the_package(hwnas):
    done = hwnas("--version")
    assert (done.code, done.out, done.err) == (0, f"hwnas {package.__version__}\n", "")


def test_help_names_every_command(hwnas):
    done = hwnas("--help")
    assert done.code == 0
    for command in ("devices", "profile", "train", "search", "specialize", "export", "table", "report"):
        assert command in done.out
        assert hwnas(command, "--help").code == 0


def test_devices_lists_this_machine_and_what_the_workspace_adds(hwnas, tmp_path):
    (tmp_path / "devices.toml").write_text('[toy]\nruntime = "fake"\nthreads = 3\n')
    done = hwnas("devices", "--json", "--workspace", tmp_path)
    keys = {"device", "connect", "runtime", "version", "precision", "threads", "batch", "machine", "state", "advice"}
    host, toy = done.json
    assert set(host) == set(toy) == keys
    assert (host["device"], toy["device"], toy["runtime"], toy["threads"]) == ("host", "toy", "fake", 3)
    assert "toy" in hwnas("devices", "--workspace", tmp_path).out


def test_profile_measures_every_block_once(hwnas, tmp_path):
    first, second = (hwnas("profile", *FAKE, "--workspace", tmp_path, "--json") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert set(first.only) == set(second.only) == {
        "device", "space", "table", "blocks", "models", "measured_models", "unconverged", "target_pct", "calm_pct",
        "stolen_s", "calibration_mean_error_pct", "calibration_max_error_pct", "seconds",
    }  # fmt: skip
    assert first.only["blocks"] == len(DIGITS.vocabulary) and first.only["unconverged"] == []
    assert second.only["measured_models"] == 0 and second.only["calm_pct"] == 0
    found = LatencyTable.read(Path(first.only["table"]))
    assert not found.missing(DIGITS.vocabulary)
    visits = [visit for of_one in found.visits.values() for visit in of_one]
    assert first.only["calm_pct"] == pytest.approx(100 * np.mean([visit.calm(found.calm_ms) for visit in visits]))


def test_training_again_trains_no_further(hwnas, workspace, supernet):
    before = sha256(supernet)
    done = hwnas("train", "--steps", 2, "--batch", 8, "--workspace", workspace, "--json")
    assert done.code == 0 and set(done.json) == {"supernet", "sha256", "validation_accuracy"}
    assert done.json["sha256"] == sha256(supernet) == before
    assert set(done.json["validation_accuracy"]) == {"smallest", "largest"}
    assert not list(supernet.parent.glob("checkpoint*"))


def test_restarting_a_training_makes_another_supernet(hwnas, workspace, supernet):
    before = sha256(supernet)
    done = hwnas("train", "--steps", 1, "--batch", 8, "--seed", 5, "--restart", "--workspace", workspace, "--json")
    assert done.code == 0 and done.json["sha256"] == sha256(supernet) != before


def test_search_keeps_its_budget_and_measures_nothing(hwnas, workspace, table, model):
    before, limit = sha256(table), budget_ms(model, 0.3)
    done = hwnas("search", "--latency", f"{limit:.4f}ms", *FAKE, "--workspace", workspace, "--json")
    assert done.code == 0 and set(done.only) == CANDIDATE
    row = DIGITS.row(DIGITS.parse(done.only["arch"]))
    assert done.only["predicted_ms"] == pytest.approx(model.latency_ms(row[None])[0])
    assert done.only["predicted_ms"] <= limit
    blocks = DIGITS.layers(DIGITS.arch(row)).values()
    assert done.only["macs"] == sum(block.macs for block in blocks)
    assert done.only["params"] == sum(block.params for block in blocks)
    assert sha256(table) == before and not (workspace / "bundles").exists()


def test_a_specialised_net_keeps_its_budget_and_its_figures_are_true(specialised, workspace, table):
    assert set(specialised) == SPECIALISED
    low, high = specialised["interval_ms"]
    assert low <= specialised["measured_ms"] <= high <= specialised["budget_ms"]
    bundle = Path(specialised["bundle"])
    record = json.loads((bundle / "bundle.json").read_text())
    assert set(record) == BUNDLE
    assert {key: record[key] for key in SPECIALISED - {"files", "bundle"}} == {
        key: specialised[key] for key in SPECIALISED - {"files", "bundle"}
    }
    files = {"labels.txt", "predict.py", *(f"model.{name}" for name in writable_formats())}
    assert {path.name for path in bundle.iterdir()} == files | {"bundle.json"}
    assert record["files"] == specialised["files"] == {name: sha256(bundle / name) for name in files}
    assert record["table_sha256"] == sha256(table)
    assert record["supernet_sha256"] == sha256(workspace / "supernets" / "digits-digit-pairs" / "supernet.safetensors")
    assert record["fingerprint"]["runtime"] == "fake" and record["hwnas"] == package.__version__


def test_the_accuracy_told_is_that_of_the_file_that_is_shipped(specialised):
    images, labels = open_dataset("digit-pairs").batch("test", 0, evaluate.BATCH * evaluate.TEST_BATCHES)
    content = (Path(specialised["bundle"]) / "model.onnx").read_bytes()
    right = run_file(ModelFile("onnx", content), images).argmax(axis=1) == labels
    assert specialised["accuracy"] == pytest.approx(right.mean())


def test_the_measured_time_is_that_of_the_file_that_is_shipped(specialised):
    content = (Path(specialised["bundle"]) / "model.onnx").read_bytes()
    assert specialised["measured_ms"] == pytest.approx(price_ms(content), rel=0.03)
    assert specialised["predicted_ms"] == pytest.approx(price_ms(content), rel=0.1)


def test_what_was_measured_becomes_one_more_net_that_the_table_is_calibrated_on(specialised, prepared, table):
    before, after = (LatencyTable.read(path) for path in (prepared / table.relative_to(table.parents[1]), table))
    added = after.nets.keys() - before.nets.keys()
    assert f"net {specialised['arch']}" in after.nets and len(added) <= specialised["attempts"]
    assert after.measurement(f"net {specialised['arch']}").latency_ms == pytest.approx(
        specialised["measured_ms"], rel=0.02
    )


BLOCKED = """
import runpy, sys
for name in ("torch", "hwnas", "lut", "profilers", "sklearn", "scipy", "onnx", "safetensors"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_bundle_classifies_with_nothing_but_numpy_and_onnxruntime(specialised, tmp_path):
    dataset, bundle = open_dataset("digit-pairs"), Path(specialised["bundle"])
    image = dataset.batch("test", 0, 1)[0][0]
    np.save(tmp_path / "image.npy", image)
    command = [sys.executable, "-I", "-c", BLOCKED, str(bundle / "predict.py"), str(tmp_path / "image.npy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    logits = run_file(ModelFile("onnx", (bundle / "model.onnx").read_bytes()), image[None])[0]
    assert [label for label, _ in lines] == [dataset.classes[i] for i in np.argsort(-logits)[:3]]
    shares = np.sort(np.exp(logits) / np.exp(logits).sum())[::-1]
    assert [float(share) for _, share in lines] == pytest.approx(shares[:3], abs=6e-4)


def test_many_budgets_are_served_in_one_call_and_reported_together(hwnas, workspace, model):
    budgets = [round(budget_ms(model, share), 4) for share in (0.6, 0.2)]
    latency = ",".join(f"{budget}ms" for budget in budgets)
    done = hwnas("specialize", "--latency", latency, *FAKE, "--workspace", workspace, "--json")
    assert done.code == 0 and [facts["budget_ms"] for facts in done.json] == budgets
    assert all(facts["interval_ms"][1] <= facts["budget_ms"] for facts in done.json)
    listed = hwnas("report", "--workspace", workspace, "--json")
    assert listed.code == 0 and [facts["budget_ms"] for facts in listed.json] == sorted(budgets)
    assert {facts["bundle"] for facts in listed.json} == {facts["bundle"] for facts in done.json}
    picture = (workspace / "front.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and picture.endswith(b"IEND\xaeB`\x82")
    assert hwnas("report", "--workspace", workspace).out.count(f"digits-{budgets[0]}ms") == 1


def test_the_same_seed_specialises_to_the_same_net(hwnas, workspace, prepared, tmp_path, model):
    again = Path(shutil.copytree(prepared, tmp_path / "again"))
    options = ("--latency", f"{budget_ms(model, 0.5):.4f}ms", *FAKE, "--json", "--seed", 1)
    first, second = (hwnas("search", *options, "--workspace", folder) for folder in (workspace, again))
    assert first.only | {"seconds": 0} == second.only | {"seconds": 0}


def test_a_missing_table_is_measured_on_the_way(hwnas, workspace, table, model):
    table.unlink()
    done = hwnas("search", "--latency", f"{budget_ms(model, 0.5):.4f}ms", *FAKE, "--workspace", workspace, "--json")
    assert done.code == 0 and "not profiled for digits yet" in done.err
    assert not LatencyTable.read(table).missing(DIGITS.vocabulary)


def test_an_exported_subnet_computes_what_the_file_of_its_arch_should(hwnas, workspace, tmp_path):
    output = tmp_path / "deep" / "net.onnx"
    done = hwnas("export", "--arch", DIGITS.smallest, "--output", output, "--workspace", workspace, "--json")
    assert done.code == 0
    assert set(done.json) == {"arch", "file", "max_difference", "test_accuracy", "validation_accuracy"}
    assert done.json["arch"] == str(DIGITS.smallest) and done.json["max_difference"] <= 1e-4
    logits = run_file(ModelFile("onnx", output.read_bytes()), np.zeros((1, 1, 40, 40), np.float32))
    assert logits.shape == (1, 100) and np.isfinite(logits).all()


def test_table_show_lists_every_entry_with_its_interval(hwnas, workspace, table):
    done = hwnas("table", "show", *FAKE, "--workspace", workspace, "--json")
    assert done.code == 0
    assert {entry["name"] for entry in done.json} == {name for name, _ in LatencyTable.read(table).measured()}
    for entry in done.json:
        assert set(entry) == {"name", "latency_ms", "interval_ms", "calm_visits"}
        assert entry["interval_ms"][0] <= entry["latency_ms"] <= entry["interval_ms"][1]
    assert hwnas("table", "show", *FAKE, "--workspace", workspace).code == 0


def test_table_check_passes_what_prices_a_space(hwnas, workspace):
    done = hwnas("table", "check", *FAKE, "--workspace", workspace, "--json")
    found = done.json
    assert done.code == 0 and found.pop("age_days") < 1
    findings = {"missing", "transferred", "unconverged", "stale", "elsewhere", "unsteady", "inverted"}
    assert set(found) == findings and not any(found.values())
    assert "60 of 60 blocks" in hwnas("table", "check", *FAKE, "--workspace", workspace).out


def test_table_diff_finds_the_entry_that_is_dearer_on_one_device(hwnas, workspace, table, tmp_path):
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    dear = DIGITS.vocabulary[5].key
    for line in lines:
        if dear in line.get("round", {}):
            line["round"][dear][0] *= 4
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = hwnas("table", "diff", table, other, "--json", "--most", 3)
    assert done.code == 0 and len(done.json) == 3
    assert set(done.json[0]) == {"name", "first_ms", "second_ms", "ratio"}
    assert done.json[0]["name"] == dear and done.json[0]["ratio"] == pytest.approx(4, rel=1e-3)
    assert all(row["ratio"] == pytest.approx(1) for row in done.json[1:])
    assert dear in hwnas("table", "diff", table, other).out


def test_spaces_are_listed_with_what_their_images_must_be(hwnas):
    found = {space["name"]: space for space in hwnas("space", "list", "--json").json}
    assert found["digits"]["image_chs"] == 1 and found["digits"]["resolutions"] == [40]
    assert found["digits"]["macs"] == [sum(block.macs for block in DIGITS.layers(arch).values())
                                       for arch in (DIGITS.smallest, DIGITS.largest)]  # fmt: skip
    shown = hwnas("space", "list").out
    assert all(name in shown for name in found) and "photos" in found


def test_data_sets_are_listed_with_their_images_and_whether_they_can_be_fetched(hwnas):
    found = {one["data"]: one for one in hwnas("data", "list", "--json").json}
    assert (found["digit-pairs"]["channels"], found["digit-pairs"]["hw"]) == (1, 40)
    assert found["cifar10"]["downloadable"] and not found["imagefolder"]["downloadable"]
    shown = hwnas("data", "list").out
    assert "imagefolder:FOLDER" in shown and "MODULE:FUNCTION" in shown
