"""What macOS leaves beside files on other disks, ._NAME, is no picture and no truth for any reader of folders."""

from pathlib import Path

import numpy as np
import pytest
from image_files import save_image

from dla.data import Cityscapes
from dla.data.boundaries.folders import BoundaryFolders
from dla.data.classification.folders import LabelledFolder
from dla.data.segmentation.folders import PairedFolders


def picture(path: Path, *shape: int) -> None:
    save_image(path, np.zeros(shape, dtype=np.uint8))
    path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")


@pytest.fixture
def root(tmp_path) -> Path:
    """In a hidden folder, in which what is not hidden counts."""
    root = tmp_path / ".cache" / "set"
    for name in ("train/wall/a.png", "train/crack/b.png", "train/c.png"):
        picture(root / name, 8, 8, 3)
    picture(root / "trainannot" / "c.png", 8, 8)
    return root


def test_hidden_files_are_no_pictures(root):
    assert len(PairedFolders(root, classes=["wall", "crack"])) == 1
    assert len(LabelledFolder(root / "train", ("crack", "wall"))) == 2
    picture(root / "leftImg8bit/train/ulm/ulm_1_leftImg8bit.png", 8, 8, 3)
    picture(root / "gtFine/train/ulm/ulm_1_gtFine_labelIds.png", 8, 8)
    assert len(Cityscapes(root)) == 1
    assert len(BoundaryFolders(root / "train", root / "trainannot")) == 1
