"""A heat map shows every inverted residual of a table once, in ms, and the dearer a MAC the redder."""

import io
import math
import re
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.cli.display import show_heat_map
from hwnas.heatmap import HeatMap, draw_heat_maps, heat_map
from hwnas.spaces import open_space
from lut.blocks import Conv, MBConv
from lut.importers import read_published
from lut.layers import make_divisible
from lut.table import LatencyTable
from profilers.device import Fingerprint
from profilers.errors import InvalidInputError
from profilers.measurement import Visit
from profilers.rounds import Round

HERE = Fingerprint(
    machine="here", cores=1, runtime="fake", runtime_version="1", precision="fp32", threads=1, batch=1
)  # fmt: skip
widths = st.sampled_from([16, 24, 40, 80, 112, 160])
BODY, STEM = MBConv(16, 24, 20, 64, 3, 2, True, "hswish"), Conv(1, 8, 40, 3, 2, "hswish")


def table_of(folder, times):
    path = folder / "table.jsonl"
    path.unlink(missing_ok=True)
    table = LatencyTable.open(path, "toy", HERE)
    table.add_round(Round({block.key: Visit(ms, 0.125) for block, ms in times.items()}, frozenset()))
    return table


def random_times(blocks, seed=0):
    """Times that tell blocks apart, as long as there are fewer than a thousand."""
    values = np.random.default_rng(seed).permutation(np.linspace(0.125, 9.5, len(blocks)))
    return dict(zip(blocks, values.tolist(), strict=True))


def mbconvs(space):
    return [block for block in space.vocabulary if isinstance(block, MBConv)]


def assert_each_has_a_cell(found, times):
    assert sorted(cell.ms for cell in found.cells.values()) == pytest.approx(sorted(times.values()), rel=1e-5)
    assert set(found.rows) == {row for row, _ in found.cells} and len(set(found.rows)) == len(found.rows)
    assert set(found.columns) == {column for _, column in found.cells}
    assert len(set(found.columns)) == len(found.columns)


@pytest.mark.parametrize("name", spaces.names())
@pytest.mark.parametrize("width", ["", "@0.25", "@0.7", "@1.2", "@2"])
@pytest.mark.parametrize("resolutions", [(), (160, 176, 192)], ids=["its-own", "three"])
def test_every_inverted_residual_of_a_space_has_a_cell_of_its_own(tmp_path, name, width, resolutions):
    space = open_space(name + width, resolutions=resolutions)
    found = heat_map(table_of(tmp_path, random_times(space.vocabulary)))
    assert_each_has_a_cell(found, {b: ms for b, ms in random_times(space.vocabulary).items() if isinstance(b, MBConv)})


def test_every_inverted_residual_of_a_published_table_has_a_cell_of_its_own(tmp_path, shared_data):
    files = sorted((shared_data / "ofa_note10").glob("*.yaml"))
    published = [entry.block for entry in read_published("ofa", files)]
    times = random_times(dict.fromkeys(block for block in published if isinstance(block, MBConv)))
    assert times
    assert_each_has_a_cell(heat_map(table_of(tmp_path, times)), times)


@st.composite
def blocks(draw):
    """Inverted residuals as spaces of any width have them, of many spaces in one table."""
    in_chs, out_chs = (make_divisible(chs * draw(st.floats(0.25, 2))) for chs in draw(st.tuples(widths, widths)))
    mid_chs = make_divisible(in_chs * draw(st.sampled_from([1, 2, 3, 4, 6])))
    kernel, stride = draw(st.sampled_from([3, 5, 7])), draw(st.sampled_from([1, 2]))
    act = draw(st.sampled_from(["relu", "hswish"]))
    return MBConv(in_chs, out_chs, draw(st.integers(1, 224)), mid_chs, kernel, stride, draw(st.booleans()), act)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(blocks(), min_size=1, max_size=20, unique=True))
def test_every_inverted_residual_of_many_spaces_has_a_cell_of_its_own(tmp_path, found):
    assert_each_has_a_cell(heat_map(table_of(tmp_path, random_times(found))), random_times(found))


def test_a_cell_says_what_a_million_macs_cost(tmp_path):
    (cell,) = heat_map(table_of(tmp_path, {BODY: 2.5, STEM: 1.0})).cells.values()
    assert (cell.ms, cell.ms_per_mmac) == (2.5, pytest.approx(2.5 / (BODY.macs / 1e6)))


def test_stages_come_in_the_order_they_run_in_and_columns_by_kernel_then_expansion(tmp_path):
    found = heat_map(table_of(tmp_path, random_times(open_space("digits").vocabulary)))
    sizes = [int(row.split("²")[0]) for row in found.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert found.columns == ("k3 e1", *(f"k{kernel} e{expand}" for kernel in (3, 5, 7) for expand in (3, 4, 6)))


def test_heat_goes_from_the_cheapest_mac_to_the_dearest_by_ratios(tmp_path):
    space = open_space("digits")
    found = heat_map(table_of(tmp_path, random_times(mbconvs(space))))
    by_cost = sorted(found.cells.values(), key=lambda cell: cell.ms_per_mmac)
    heats = [found.heat(cell) for cell in by_cost]
    assert heats[0] == 0 and heats[-1] == 1 and heats == sorted(heats)
    whole = math.log(by_cost[-1].ms_per_mmac / by_cost[0].ms_per_mmac)
    middle = by_cost[len(by_cost) // 2]
    assert found.heat(middle) == pytest.approx(math.log(middle.ms_per_mmac / by_cost[0].ms_per_mmac) / whole)


def test_a_map_on_which_all_macs_cost_the_same_is_cold(tmp_path):
    found = heat_map(table_of(tmp_path, {BODY: 2.5}))
    assert [found.heat(cell) for cell in found.cells.values()] == [0.0]


def test_a_picture_of_maps_beside_each_other_is_drawn(tmp_path):
    from matplotlib.image import imread

    one = heat_map(table_of(tmp_path, random_times(mbconvs(open_space("digits")))))
    pictures = []
    for count in (1, 2):
        path = tmp_path / "deep" / f"{count}.png"
        draw_heat_maps({f"map {i}": one for i in range(count)}, path)
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pictures.append(imread(io.BytesIO(path.read_bytes())))
    heights, widths = zip(*(picture.shape[:2] for picture in pictures), strict=True)
    assert heights[0] == heights[1] and widths[1] > 1.5 * widths[0]


def test_a_picture_of_one_cell_is_drawn(tmp_path):
    draw_heat_maps({"one": heat_map(table_of(tmp_path, {BODY: 2.5}))}, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().endswith(b"IEND\xaeB`\x82")


def test_an_empty_map_is_not_drawn(tmp_path):
    empty, full = heat_map(table_of(tmp_path, {STEM: 1.0})), heat_map(table_of(tmp_path, {BODY: 1.0}))
    assert empty == HeatMap((), (), {})
    for maps in ({"bare": empty}, {"full": full, "bare": empty}):
        with pytest.raises(InvalidInputError, match="bare has no inverted residuals to draw"):
            draw_heat_maps(maps, tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()


@pytest.mark.parametrize("name", spaces.names())
@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "80-characters-wide"])
def test_every_time_is_shown_whole_also_where_there_is_little_room(tmp_path, capsys, monkeypatch, name, terminal):
    found = heat_map(table_of(tmp_path, random_times(mbconvs(open_space(name)))))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    show_heat_map("What blocks cost", found)
    shown = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    times = [f"{cell.ms:.3g}" for cell in found.cells.values()]
    assert Counter(times) <= Counter(shown.split()) and "…" not in shown
    assert all(part in shown for row in found.rows for part in row.split())
    assert [word for word in shown.split() if word.startswith("k")] == [c.split()[0] for c in found.columns]
    assert not terminal or max(map(len, shown.splitlines())) <= 80


def test_an_empty_map_takes_no_place_in_the_terminal(capsys):
    show_heat_map("What blocks cost", HeatMap((), (), {}))
    assert capsys.readouterr().out == ""
