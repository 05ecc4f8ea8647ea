"""What a measurement says of the machine."""

import os

import pytest

from dla.machine import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not say which cores may be used")
def test_cores_are_those_that_this_process_may_use():
    """As batch systems and taskset give it fewer than the machine has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
