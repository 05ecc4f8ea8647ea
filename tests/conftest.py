"""Shapes on public signatures are checked while the tests run; real data is found by DLA_DATA."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("dla", "typeguard.typechecked")


@pytest.fixture(scope="session")
def data_root() -> Path:
    root = os.environ.get("DLA_DATA")
    if not root:
        pytest.skip("DLA_DATA is not set: it names the folder with the real data sets")
    return Path(root)
