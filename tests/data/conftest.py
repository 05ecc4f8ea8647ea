"""Small trees of files in the layouts that the readers expect, and the real data where there is some."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def random_image(seed: int, height: int = 30, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    """Six training and two validation images of 40x30, every label from 0 to 11; no test split."""
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            save(tmp_path / split / f"{number:04}.png", random_image(number))
            labels = ((np.arange(30 * 40).reshape(30, 40) + number) % 12).astype(np.uint8)
            save(tmp_path / f"{split}annot" / f"{number:04}.png", labels)
    return tmp_path


@pytest.fixture
def cityscapes_root(tmp_path: Path) -> Path:
    """Two cities with two images each in training, one in validation; masks hold the label ids 0 to 33 in order."""
    for split, cities in (("train", ("ulm", "bremen")), ("val", ("lindau",))):
        for city in cities:
            for number in range(2):
                stem = f"{city}_{number:06}_000019"
                save(tmp_path / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", random_image(number, 2, 17))
                labels = np.arange(34, dtype=np.uint8).reshape(2, 17)
                save(tmp_path / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", labels)
    return tmp_path
