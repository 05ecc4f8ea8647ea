"""Tests of kernels in a process of their own, since Triton asks only once whether it interprets."""

import json
import os
import subprocess
import sys
from typing import Any

import torch


def in_own_process(file: str, what: str, *, limit: int = 280) -> Any:
    """What the test file `file` prints when it is run with the word `what`: "interpreted", or another of its own.

    It is given `limit` seconds.
    """
    mode = {"TRITON_INTERPRET": str(int(what == "interpreted"))}
    environment = {**os.environ, **mode, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, file, what], env=environment, capture_output=True, text=True, timeout=limit)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@torch.no_grad()
def difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """The norm of the difference, in that of what is expected."""
    assert found.shape == expected.shape
    return float((found.float() - expected.float()).norm() / expected.float().norm())
