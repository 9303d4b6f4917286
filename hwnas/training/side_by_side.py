"""Work side by side in threads of this process, each of which computes on one core."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Item, Event], Result], items: Sequence[Item], most: int
) -> Iterator[tuple[Item, Result]]:
    """What `work` makes of each item, in the order in which they are done.

    As many are worked on at a time as torch would use threads, at most `most`. Each takes one core: torch's threads
    wait actively for each other after every layer, which takes many times as long once another program uses one of the
    cores, and results would depend on how many there are. Whoever stops listening sets the event that all work is
    given, and waits for what is under way.
    """
    cores, stopped = torch.get_num_threads(), Event()
    torch.set_num_threads(1)  # here, and in threads that begin from now on
    try:
        if (count := min(cores, most, len(items))) < 2:
            yield from ((item, work(item, stopped)) for item in items)
            return
        with ThreadPoolExecutor(count) as pool:
            futures = {pool.submit(work, item, stopped): item for item in items}
            try:
                for done in as_completed(futures):
                    yield futures[done], done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # first, so that nothing begins that stops at once
                stopped.set()
    finally:
        torch.set_num_threads(cores)
