"""One net for several devices: it is measured on each, and kept only if it keeps its budget on all."""

import json
import shutil
from pathlib import Path

import pytest

from hwnas.spaces import open_space

DIGITS = open_space("digits")
DEVICES = """
[twin]
runtime = "fake"
[batched]
runtime = "fake"
batch = 4
"""

pytestmark = pytest.mark.usefixtures("few_images", "no_settings")


@pytest.fixture
def asked(workspace, table, model):
    """Budgets, and where two devices are that cost the same."""
    (workspace / "devices.toml").write_text(DEVICES)
    for name in ("twin-fake-fp32-t1-b1", "batched-fake-fp32-t1-b4"):
        shutil.copy(table, workspace / "tables" / f"{name}.jsonl")
    least, _ = model.least()
    largest = float(model.latency_ms(DIGITS.row(DIGITS.largest)[None])[0])
    loose, tight = least + 0.6 * (largest - least), least + 0.4 * (largest - least)
    return loose, tight, ("--runtime", "fake", "--workspace", workspace)


def test_a_net_for_two_devices_keeps_the_budget_on_each(hwnas, asked):
    loose, tight, where = asked
    done = hwnas("specialize", "--latency", f"host={loose:.4f}ms,twin={tight:.4f}ms", *where, "--json")
    assert done.code == 0, done.err
    one, other = done.only["devices"]
    assert (one["device"], other["device"]) == ("host", "twin")
    assert all(found["interval_ms"][1] <= found["budget_ms"] for found in (one, other))
    record = json.loads((Path(done.only["bundle"]) / "bundle.json").read_text())
    assert [found["budget_ms"] for found in record["devices"]] == [round(loose, 4), round(tight, 4)]
    assert all(found["fingerprint"]["runtime"] == "fake" and found["table_sha256"] for found in record["devices"])
    shown = hwnas("report", "--workspace", where[-1])
    assert shown.code == 0 and "on host" in shown.out and "on twin" in shown.out


def test_devices_that_want_different_files_cannot_share_a_net(hwnas, asked):
    loose, _, where = asked
    done = hwnas("specialize", "--latency", f"host={loose:.4f}ms,batched={loose:.4f}ms", *where)
    assert done.code == 3 and "one net cannot be for devices that want different files" in done.refusal
