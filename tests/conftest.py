"""Shapes on public signatures are checked while the tests run; real data is found by DLA_DATA."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("dla", "typeguard.typechecked")


@pytest.fixture(scope="session")
def real_camvid() -> Path:
    """The real CamVid, or a skip that says why."""
    if "DLA_DATA" not in os.environ:
        pytest.skip("DLA_DATA is not set; it names the folder with the real data sets")
    root = Path(os.environ["DLA_DATA"]) / "camvid"
    if not root.is_dir():
        pytest.skip(f"no folder {root}")
    return root
