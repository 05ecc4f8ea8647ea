"""What a measurement says of the machine."""

import os
import re
from pathlib import Path

import pytest

from dla.machine import cores, memory


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not say which cores may be used")
def test_cores_are_those_that_this_process_may_use():
    """As batch systems and taskset give it fewer than the machine has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux has this file to compare with")
def test_memory_is_that_of_the_machine():
    (total,) = re.findall(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert memory() == pytest.approx(1024 * int(total), rel=1e-3)
