"""Processes that work ahead: torch's DataLoader, which hands tensors over in shared memory, and tells if one dies."""

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterable
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from threading import Thread
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from profilers.errors import HwnasError, LostError, first_line


def from_workers(items: Dataset[Any], numbers: Iterable[int], workers: int, *, in_order: bool = True) -> Generator[Any]:
    """`items[n]` for each of `numbers`, made by so many processes; they end when the iterator is closed.

    An item that is a HwnasError is raised. Raises LostError if a process died.
    """
    loader = DataLoader(
        items,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        in_order=in_order,
        multiprocessing_context=_context(),
        worker_init_fn=_end_with_parent,
        generator=torch.Generator(),  # so that no number of the global one is used up
    )
    coming = iter(loader)
    while True:
        try:
            item = next(coming)
        except StopIteration:
            return
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise LostError(
                f"a working process died ({first_line(error)}), perhaps of too little memory or shared "
                "memory: give fewer --workers; the same command goes on"
            ) from error
        if isinstance(item, HwnasError):
            raise item
        yield item


def _context() -> BaseContext:
    """How processes begin: not as forks of this one, whose torch has threads, but of one that only imported torch.

    Python's other way, spawn, ends them such that threads of torch abort now and then (Python 3.11, torch 2.13).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.utils.data"])
    return context


def _end_with_parent(_worker: int) -> None:
    """Let this process end at once when the one that wanted its work is gone.

    torch looks whether the process that forked it is there, which here is the fork server; and that waits for us.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        signal.raise_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)

    Thread(target=watch, daemon=True).start()
