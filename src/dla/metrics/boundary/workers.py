"""Shares tasks among processes that end together, by Ctrl-C, by an error or where the first of them is killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")


def in_processes(work: Callable[[T], R], tasks: Mapping[str, T], workers: int) -> Iterator[tuple[str, R]]:
    """What `work`, a function of a module, gives for each task, as it becomes ready; the first error is raised.

    With one worker, or one task, it runs here.

    Raises:
        BrokenProcessPool: a worker was killed.
    """
    if min(workers, len(tasks)) < 2:
        yield from ((name, work(task)) for name, task in tasks.items())
        return
    # Spawned, because a fork of a process in which torch has threads may hang.
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        with _ctrl_c_held():
            futures = {pool.submit(work, task): name for name, task in tasks.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        time.sleep(0.5)  # Ctrl-C ends the workers too, and may get to them first: then it is raised here
        raise BrokenProcessPool(
            "a worker ended early, as the system ends one where memory is full: make room there, or give fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; processes started in it have it wait until they ask for it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # on Ctrl-C it ends without a traceback; its parent writes the files
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, which would wait for tasks for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
