"""Processes that share tasks, and what is said where one of them ends."""

import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from dla.metrics.boundary.workers import in_processes


@pytest.mark.parametrize(("tasks", "workers"), [({"a": 1, "b": 2}, 1), ({"a": 1}, 2)])
def test_one_worker_or_one_task_starts_no_process(tasks, workers):
    """So a script without the usual `if __name__ == "__main__":` may ask for it."""
    assert dict(in_processes(lambda task: (task, os.getpid()), tasks, workers)) == {
        name: (task, os.getpid()) for name, task in tasks.items()
    }


def test_a_worker_that_is_gone_says_what_to_do():
    with pytest.raises(BrokenProcessPool, match=r"a worker ended early, .* memory is full: .* or give fewer workers"):
        list(in_processes(os._exit, {"a": 1, "b": 1}, workers=2))
