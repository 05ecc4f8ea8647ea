"""A small benchmark on disk: three images, their predictions in three formats, their truth in two."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat


class Benchmark(NamedTuple):
    """Its folders; `output` is not there yet."""

    predictions: Path
    truths: Path
    output: Path


def save_truth(path: Path, maps: np.ndarray) -> None:
    cells = np.empty((1, len(maps)), dtype=object)
    for index, boundaries in enumerate(maps):
        cells[0, index] = {"Boundaries": boundaries.astype(np.uint8)}
    savemat(path, {"groundTruth": cells})


@pytest.fixture
def benchmark(tmp_path) -> Benchmark:
    folders = Benchmark(*(tmp_path / name for name in Benchmark._fields))
    folders.predictions.mkdir()
    folders.truths.mkdir()
    rng = np.random.default_rng(0)
    grey = (rng.random((3, 30, 41)) ** 12 * 255).round().astype(np.uint8)
    Image.fromarray(grey[0]).save(folders.predictions / "a.png")
    np.save(folders.predictions / "b.npy", (grey[1] / 255).astype(np.float32))
    savemat(folders.predictions / "c.mat", {"edges": grey[2] / 255})
    save_truth(folders.truths / "a.mat", rng.random((3, 30, 41)) < 0.05)
    save_truth(folders.truths / "b.mat", rng.random((1, 30, 41)) < 0.05)
    Image.fromarray((rng.random((30, 41)) < 0.05).astype(np.uint8) * 255).save(folders.truths / "c.png")
    return folders
