"""A small benchmark on disk: three images, their predictions in three formats, their truth in two."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from image_files import save_image, save_truths
from scipy.io import savemat


class Benchmark(NamedTuple):
    """Its folders; `output` is not there yet."""

    predictions: Path
    truths: Path
    output: Path


@pytest.fixture
def benchmark(tmp_path) -> Benchmark:
    folders = Benchmark(*(tmp_path / name for name in Benchmark._fields))
    rng = np.random.default_rng(0)
    grey = (rng.random((3, 30, 41)) ** 12 * 255).round().astype(np.uint8)
    save_image(folders.predictions / "a.png", grey[0])
    np.save(folders.predictions / "b.npy", (grey[1] / 255).astype(np.float32))
    savemat(folders.predictions / "c.mat", {"edges": grey[2] / 255})
    save_truths(folders.truths / "a.mat", rng.random((3, 30, 41)) < 0.05)
    save_truths(folders.truths / "b.mat", rng.random((1, 30, 41)) < 0.05)
    save_image(folders.truths / "c.png", (rng.random((30, 41)) < 0.05).astype(np.uint8) * 255)
    return folders
