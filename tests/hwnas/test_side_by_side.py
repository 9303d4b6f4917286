"""Work in threads, each on one core: errors are told, and who stops listening waits only for what is under way."""

from threading import Barrier

import pytest
import torch

from hwnas.training.side_by_side import side_by_side


@pytest.fixture(autouse=True)
def two_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_as_many_are_worked_on_at_a_time_as_there_are_cores():
    both = Barrier(2, timeout=60)
    assert sorted(side_by_side(lambda item, _: both.wait() * 0 + item, range(4), most=9)) == [(n, n) for n in range(4)]


def test_an_error_is_raised_and_ends_the_others():
    begun = []

    def work(item, stopped):
        begun.append(item)
        if item == 0:
            raise ValueError("of item 0")
        assert stopped.wait(60)

    with pytest.raises(ValueError, match="of item 0"):
        list(side_by_side(work, range(9), most=9))
    assert len(begun) <= 3


def test_who_stops_listening_sets_the_event_and_waits_for_what_is_under_way():
    ended = []

    def work(item, stopped):
        if item:
            assert stopped.wait(60)
            ended.append(item)
        return item

    coming = side_by_side(work, range(9), most=9)
    assert next(coming) == (0, 0)
    coming.close()
    assert 1 <= len(ended) <= 2


def test_alone_it_comes_in_order():
    assert list(side_by_side(lambda item, _: (item, torch.get_num_threads()), "ab", most=1)) == [
        ("a", ("a", 1)),
        ("b", ("b", 1)),
    ]
