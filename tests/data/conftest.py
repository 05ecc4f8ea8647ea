"""Small trees of files in the layouts that the readers expect, and the real data where there is some."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from image_files import random_image, save_image, save_truths
from lightning import Trainer


@pytest.fixture
def quiet_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes trainers on the processor that print and keep nothing; validation is not tried before training."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return partial(Trainer, default_root_dir=tmp_path, accelerator="cpu", num_sanity_val_steps=0, **quiet)


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    """Six training and two validation images of 40x30, every label from 0 to 11; no test split."""
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            save_image(tmp_path / split / f"{number:04}.png", random_image(number))
            labels = ((np.arange(30 * 40).reshape(30, 40) + number) % 12).astype(np.uint8)
            save_image(tmp_path / f"{split}annot" / f"{number:04}.png", labels)
    return tmp_path


@pytest.fixture
def cityscapes_root(tmp_path: Path) -> Path:
    """Two cities with two images each in training, one in validation; masks hold the label ids 0 to 33 in order."""
    for split, cities in (("train", ("ulm", "bremen")), ("val", ("lindau",))):
        for city in cities:
            for number in range(2):
                stem = f"{city}_{number:06}_000019"
                path = tmp_path / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
                save_image(path, random_image(number, 2, 17))
                labels = np.arange(34, dtype=np.uint8).reshape(2, 17)
                save_image(tmp_path / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", labels)
    return tmp_path


def random_truths(seed: int, height: int = 30, width: int = 40) -> np.ndarray:
    """Two to five annotators, each of whom marks a fifth of the pixels."""
    rng = np.random.default_rng(seed)
    return rng.random((2 + seed % 4, height, width)) < 0.2


@pytest.fixture
def bsds_root(tmp_path: Path) -> Path:
    """Six training and three validation images of 40x30, every third one of 30x40; no test split."""
    for split, count in (("train", 6), ("val", 3)):
        for number in range(count):
            size = (40, 30) if number % 3 == 2 else (30, 40)
            path = tmp_path / "data" / "images" / split / f"{1000 + number}.jpg"
            save_image(path, random_image(number, *size))
            save_truths(tmp_path / "data" / "groundTruth" / split / f"{path.stem}.mat", random_truths(number, *size))
    return tmp_path


@pytest.fixture
def own_boundaries(tmp_path: Path) -> Path:
    """Four images of 40x30 in three formats; the truths of the first two are PNG, of the others .mat."""
    for number, suffix in enumerate(("png", "jpg", "JPG", "webp")):
        save_image(tmp_path / "images" / f"{number}.{suffix}", random_image(number))
        truths = random_truths(number)
        if number < 2:
            save_image(tmp_path / "truths" / f"{number}.png", truths[0].astype(np.uint8) * (255 if number else 1))
        else:
            save_truths(tmp_path / "truths" / f"{number}.mat", truths)
    save_image(tmp_path / "truths" / "9.png", random_truths(9)[0])
    return tmp_path


@pytest.fixture(scope="session")
def real_bsds(real_data: Callable[[str], Path]) -> Path:
    """The real BSDS500."""
    return real_data("bsds500")
