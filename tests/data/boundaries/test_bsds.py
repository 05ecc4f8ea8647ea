"""BSDS500: what the files hold is what comes out, wherever the archive was unpacked, and faults are named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat

from dla.data import BSDS500


def test_reads_images_and_the_truth_of_each_annotator(bsds_root: Path) -> None:
    dataset = BSDS500(bsds_root, "train")
    image, truths = dataset[2]
    with Image.open(bsds_root / "data" / "images" / "train" / "1002.jpg") as file:
        assert np.array_equal(image.permute(1, 2, 0), np.array(file))
    cell = loadmat(bsds_root / "data" / "groundTruth" / "train" / "1002.mat")["groundTruth"]
    assert all(np.array_equal(truths[k], cell[0, k]["Boundaries"][0, 0]) for k in range(4))
    assert (image.dtype, truths.dtype) == (torch.uint8, torch.bool)
    assert [len(dataset[index].truths) for index in range(6)] == [2, 3, 4, 5, 2, 3]
    assert (len(dataset), len(BSDS500(bsds_root, "val"))) == (6, 3)
    assert dataset.classes == ("background", "boundary")


@pytest.mark.parametrize("place", [".", "data", "BSDS500/data", "BSR/BSDS500/data"])
def test_the_root_may_be_any_folder_of_the_archive(bsds_root: Path, tmp_path: Path, place: str) -> None:
    root = tmp_path / "unpacked"
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (bsds_root / "data").rename(root / place)
    assert len(BSDS500(root, "val")) == 3


def test_what_lies_beside_the_images_is_no_image(bsds_root: Path) -> None:
    (bsds_root / "data" / "images" / "train" / "Thumbs.db").write_bytes(b"a window's memory")
    assert len(BSDS500(bsds_root)) == 6


def test_missing_folders_are_named(bsds_root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*images/test"):
        BSDS500(bsds_root, "test")
    with pytest.raises(FileNotFoundError, match=r"no folders images and groundTruth in .*nowhere .*unpack BSR_bsds500"):
        BSDS500(tmp_path / "nowhere")


def test_an_image_without_truth_is_named(bsds_root: Path) -> None:
    (bsds_root / "data" / "groundTruth" / "val" / "1001.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"val/1001.jpg has no truth: expected .*groundTruth/val/1001.mat or"):
        BSDS500(bsds_root, "val")
    BSDS500(bsds_root, "train")


def test_unequal_sizes_are_named(bsds_root: Path) -> None:
    image = bsds_root / "data" / "images" / "val" / "1001.jpg"
    Image.fromarray(np.zeros((30, 41, 3), np.uint8)).save(image)
    with pytest.raises(ValueError, match=r"val/1001.jpg is 41x30 but its annotation .*val/1001.mat is 40x30"):
        BSDS500(bsds_root, "val")[1]


@pytest.mark.data
def test_real_bsds(real_bsds: Path) -> None:
    train, val = BSDS500(real_bsds, "train"), BSDS500(real_bsds, "val")
    assert (len(train), len(val)) == (200, 100)
    for index in range(0, 100, 20):
        image, truths = val[index]
        assert sorted(image.shape) == [3, 321, 481]
        assert truths.shape[1:] == image.shape[1:]
        assert 4 <= len(truths) <= 9
        # Lines are thin and few, and people agree more than chance would have it.
        assert (truths.float().mean((1, 2)) < 0.1).all()
        share = truths.float().mean((1, 2))
        both = (truths[0] & truths[1:].any(0)).float().mean()
        assert both > 2 * share[0] * truths[1:].any(0).float().mean()
