"""What a test file prints of its kernels, once for all of its tests."""

from typing import Any

import pytest
from own_process import in_own_process


@pytest.fixture(scope="module")
def interpreted(request: pytest.FixtureRequest) -> Any:
    """By Triton's interpreter."""
    pytest.importorskip("triton")
    return in_own_process(str(request.path), "interpreted")


@pytest.fixture(scope="module")
def on_gpu(request: pytest.FixtureRequest) -> Any:
    """On the GPU."""
    return in_own_process(str(request.path), "gpu")
