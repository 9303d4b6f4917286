"""A few inputs of tools/fuzz.py: nearly right files and values end in one line, never in a traceback or a hang."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
INPUTS = 5

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and limits memory and time of its children"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("fuzz", TOOLS / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_reader_fails_on_what_is_nearly_right(fuzz, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    found = {reader.name: fuzz.fuzz(reader, INPUTS, seed=1) for reader in fuzz.readers(tmp_path)}
    wrong = [
        (name, n, said) for name, all_of in found.items() for n, kind, said in all_of if kind in ("traceback", "hang")
    ]
    assert not wrong
    counts = Counter(kind for all_of in found.values() for _, kind, _ in all_of)
    assert counts["refused"] > counts["accepted"] > 0 and counts.total() == INPUTS * len(found) > 100


def test_a_traceback_a_hang_and_an_unbounded_line_are_seen(fuzz, monkeypatch):
    def read(path):
        content = path.read_bytes()
        if content == b"sample":
            return
        if len(content) % 3 == 0:
            raise KeyError("a bug")
        if len(content) % 3 == 1:
            while True:
                pass
        bytearray(8 << 30)

    monkeypatch.setattr(fuzz, "SECONDS", 1)
    reader = fuzz.Reader("broken", "text", "file", b"sample", read)
    found = fuzz.fuzz(reader, 8, seed=0)
    assert [number for number, _, _ in found] == list(range(8))
    said = " ".join(text for _, _, text in found)
    assert {kind for _, kind, _ in found} == {"traceback", "hang"} and "a bug" in said and "MemoryError" in said
