"""Processes that share tasks, and what is said where one of them ends."""

import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from dla.metrics.boundary.workers import in_processes


def test_a_worker_that_is_gone_says_what_to_do():
    with pytest.raises(BrokenProcessPool, match=r"a worker ended early, .* memory is full: .* or give fewer workers"):
        list(in_processes(os._exit, {"a": 1, "b": 1}, workers=2))
