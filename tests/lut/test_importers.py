import re
from pathlib import Path

import pytest

from hwnas.cli import main
from hwnas.spaces import open_space
from lut.importers import read_ofa
from lut.table import LatencyTable
from profilers.errors import InvalidInputError

GOOD = "Logits-input:1x1x1536-output:1000:\n  count: 500\n  mean: 0.67\n  std: 0.08\n"


def test_a_published_table_holds_the_blocks_of_its_space(shared_data):
    entries = read_ofa(shared_data / "ofa_note10" / "224_lookup_table.yaml")
    assert {entry.block for entry in entries} == set(open_space("ofa-mbv3@1.2").vocabulary)


def test_an_imported_table_prices_what_its_files_say(shared_data, tmp_path, capsys):
    files = [str(shared_data / "ofa_note10" / f"{hw}_lookup_table.yaml") for hw in (160, 224)]
    assert main(["table", "import", "--device", "note10", "--workspace", str(tmp_path), *files]) == 0
    table = LatencyTable.read(tmp_path / "tables" / "note10-published.jsonl")
    space = open_space("ofa-mbv3@1.2", resolutions=(160, 224))
    assert not table.missing(space.vocabulary)
    means: dict[str, float] = {}  # those that see one pixel are in both files: the later one counts
    for file in files:
        means |= re.findall(r"^(\S+):\n.*\n  mean: (\S+)", Path(file).read_text(), re.MULTILINE)
    assert table.latency_ms(space.vocabulary) == pytest.approx(sum(map(float, means.values())), rel=1e-5)
    assert "blocks" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "Mystery-input:7x7x3-output:7x7x3:\n  count: 1\n  mean: 1.0\n",
        GOOD.replace("mean: 0.67", "mean: 0"),
        GOOD.replace("mean: 0.67", "mean: fast"),
        GOOD.replace("count", "runs"),
        "Conv-input:224x224x3-output:100x100x24:\n  count: 1\n  mean: 1.0\n",
    ],
)
def test_a_key_that_is_not_understood_is_named_and_never_passed_over(tmp_path, text):
    path = tmp_path / "table.yaml"
    path.write_text(GOOD.replace("1000", "10") + text)
    with pytest.raises(InvalidInputError, match="not understood"):
        read_ofa(path)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "a: [", "\x00"])
def test_what_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="table"):
        read_ofa(path)
