"""CamVid: what the files hold is what comes out, and whatever is wrong with them is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dla.data import CamVid


def test_reads_images_and_labels_with_void_as_255(camvid_root: Path) -> None:
    dataset = CamVid(camvid_root, split="train")
    image, mask = dataset[2]
    with Image.open(camvid_root / "train" / "0002.png") as file:
        assert np.array_equal(image.permute(1, 2, 0), np.array(file))
    expected = (torch.arange(1200).view(30, 40) + 2) % 12
    expected[expected == 11] = 255
    assert torch.equal(mask.long(), expected)
    assert image.dtype == mask.dtype == torch.uint8
    assert len(dataset) == 6
    assert len(CamVid(camvid_root, split="val")) == 2


def test_eleven_classes_with_distinct_colors() -> None:
    assert len(CamVid.classes) == len(set(CamVid.colors)) == 11
    assert CamVid.colors[CamVid.classes.index("road")] == (128, 64, 128)


def test_palette_and_grey_files_are_read_alike(camvid_root: Path) -> None:
    expected = CamVid(camvid_root)[0].mask
    path = camvid_root / "trainannot" / "0000.png"
    with Image.open(path) as file:
        palette = file.convert("P")
        palette.putdata(np.asarray(file).ravel().tolist())
    palette.save(path)
    assert torch.equal(CamVid(camvid_root)[0].mask, expected)


def test_missing_split_is_named_only_when_asked_for(camvid_root: Path) -> None:
    CamVid(camvid_root, split="val")
    with pytest.raises(FileNotFoundError, match=r"no folder .*/test: the test split"):
        CamVid(camvid_root, split="test")
    with pytest.raises(FileNotFoundError, match=r"no folder .*/nowhere/train"):
        CamVid(camvid_root / "nowhere")


def test_image_without_annotation_is_named(camvid_root: Path) -> None:
    (camvid_root / "trainannot" / "0003.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/0003.png has no annotation: expected .*trainannot/0003.png"):
        CamVid(camvid_root)
    (camvid_root / "trainannot" / "0001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/0001.png has no annotation: .*remove the image, and 1 others"):
        CamVid(camvid_root)


def test_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "trainannot").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no \.bmp or .*\.webp file in .*/train"):
        CamVid(tmp_path)


def test_unequal_sizes_are_named(camvid_root: Path) -> None:
    Image.fromarray(np.zeros((20, 40), np.uint8)).save(camvid_root / "trainannot" / "0001.png")
    with pytest.raises(ValueError, match=r"0001.png is 40x30 but its annotation .*trainannot/0001.png is 40x20"):
        CamVid(camvid_root)[1]


def test_label_out_of_range_is_named(camvid_root: Path) -> None:
    Image.fromarray(np.full((30, 40), 12, np.uint8)).save(camvid_root / "trainannot" / "0001.png")
    with pytest.raises(ValueError, match=r"trainannot/0001.png holds label 12"):
        CamVid(camvid_root)[1]


def test_colored_annotation_is_named(camvid_root: Path) -> None:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(camvid_root / "trainannot" / "0001.png")
    with pytest.raises(ValueError, match=r"trainannot/0001.png holds uint8 values of shape \(30, 40, 3\)"):
        CamVid(camvid_root)[1]


def test_broken_image_is_named(camvid_root: Path) -> None:
    path = camvid_root / "train" / "0001.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"train/0001.png cannot be read"):
        CamVid(camvid_root)[1]
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"train/0001.png cannot be read"):
        CamVid(camvid_root)[1]


@pytest.mark.data
def test_real_camvid(real_camvid: Path) -> None:
    train, val = CamVid(real_camvid, split="train"), CamVid(real_camvid, split="val")
    assert (len(train), len(val)) == (367, 101)
    counts = sum(torch.bincount(train[index].mask.flatten(), minlength=256) for index in range(0, 367, 12))
    assert (counts[:11] > 0).all()
    assert counts[11:255].sum() == 0
    # Half of CamVid is road and buildings.
    share = counts / counts.sum()
    assert share[train.classes.index("road")] > 0.2
    assert share[train.classes.index("building")] > 0.2
    # The sky is bright and the road is below it.
    image, mask = train[0]
    rows = torch.arange(360).view(-1, 1).expand(360, 480).float()
    assert rows[mask == 3].mean() > rows[mask == 0].mean() + 100
    assert image[:, mask == 0].float().mean() > image[:, mask == 3].float().mean()
