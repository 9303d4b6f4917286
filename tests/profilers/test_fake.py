"""The fake device costs what its formula says: the same every time, and additive over parts of a model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profilers.backends import fake
from profilers.device import Device
from profilers.formats import write
from profilers.graph import Graph, Value

TOY = Device(name="toy", runtime="fake")
widths = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def convolutions(graph: Graph, x: Value, widths: list[int]) -> Value:
    for chs in widths:
        weight = np.zeros((chs, x.shape[1], 3, 3), np.float32)
        x = graph.activation(graph.conv(x, weight, np.zeros(chs, np.float32)), "relu")
    return x


def content(in_chs: int, widths: list[int]) -> bytes:
    graph = Graph((1, in_chs, 5, 5))
    return write(graph.finish(convolutions(graph, graph.input, widths)), "onnx").content


def test_the_price_is_a_start_and_nodes_and_macs() -> None:
    graph = Graph((1, 4, 10, 10))
    y = graph.conv(graph.input, np.zeros((6, 4, 3, 3), np.float32), np.zeros(6, np.float32), stride=2)
    y = graph.conv(y, np.zeros((6, 1, 5, 5), np.float32), np.zeros(6, np.float32), groups=6)
    y = graph.linear(graph.pool(y), np.zeros((10, 6), np.float32), np.zeros(10, np.float32))
    macs = 6 * 4 * 9 * 25 + 6 * 25 * 25 + 10 * 6
    nodes = 5  # two convolutions, pooling, flattening, the linear map
    priced_ms = fake.price_ms(write(graph.finish(y), "onnx").content)
    assert priced_ms == pytest.approx(0.02 + nodes * 0.002 + macs / 10e6)


@settings(max_examples=25, deadline=None)
@given(first=widths, second=widths)
def test_a_chain_costs_the_sum_of_its_parts_less_one_start(first: list[int], second: list[int]) -> None:
    whole, start_ms = fake.price_ms(content(2, first + second)), 0.02
    parts = fake.price_ms(content(2, first)) + fake.price_ms(content(first[-1], second))
    assert whole == pytest.approx(parts - start_ms)


def test_runs_repeat_exactly_and_differ_by_one_percent_at_most() -> None:
    one, other = content(2, [3]), content(2, [4])
    runs = [fake.load(one, TOY) for _ in range(2)]
    first, second = ([run() for _ in range(200)] for run in runs)
    assert first == second
    off = np.array(first) / fake.price_ms(one) - 1
    assert np.abs(off).max() <= 0.01 and np.abs(off).max() > 0.009 and abs(off.mean()) < 0.002
    run = fake.load(other, TOY)
    assert not np.allclose([run() / fake.price_ms(other) - 1 for _ in range(200)], off)


def test_threads_do_not_change_the_price() -> None:
    model = content(2, [3])
    assert fake.load(model, TOY)() == fake.load(model, Device(name="toy", runtime="fake", threads=8))()
