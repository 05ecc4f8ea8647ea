"""Shapes on public signatures are checked while the tests run; real data is found by DLA_DATA."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest
from jaxtyping import install_import_hook

# Not in what runs at every operation of training, or for every image that is drawn: it has no shapes to check, and
# would take most of the tests' time. Nor in kernels, of which Triton reads the source.
UNCHECKED = {"recompute", "kernels", "data"}
DRAWN = {"loading", "sampling"}
SOURCE = Path(__file__).parents[1] / "src" / "dla"
NAMES = [f"dla.{path.stem}" for path in SOURCE.iterdir() if path.stem[0] != "_" and path.stem not in UNCHECKED]
KERNELS = [f"dla.kernels.{path.stem}" for path in SOURCE.glob("kernels/[a-z]*.py") if not path.stem.endswith("_kernel")]
DATA = [f"dla.data.{path.stem}" for path in SOURCE.glob("data/[a-z]*.py") if path.stem not in DRAWN]
CHECKED = sorted(NAMES + KERNELS + DATA)
install_import_hook(CHECKED, "typeguard.typechecked")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a folder of the real data, or skips and says why."""

    def find(name: str) -> Path:
        if "DLA_DATA" not in os.environ:
            pytest.skip("DLA_DATA is not set; it names the folder with the real data sets")
        folder = Path(os.environ["DLA_DATA"]) / name
        if not folder.is_dir():
            pytest.skip(f"no folder {folder}")
        return folder

    return find


@pytest.fixture(scope="session")
def real_camvid(real_data: Callable[[str], Path]) -> Path:
    """The real CamVid."""
    return real_data("camvid")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """No shape is checked while a network is traced or exported for any size: sizes are symbols then, not numbers."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
