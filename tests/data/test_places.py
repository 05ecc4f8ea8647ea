"""Splits as programs spell them: val is also valid or validation, and train training."""

import json
from pathlib import Path

import numpy as np
import pytest
from image_files import random_image, save_image

from dla.data import BoundaryFolderData, CocoData, FolderData, ImageFolderData
from dla.data.places import split_place, split_places


@pytest.mark.parametrize(
    ("there", "split", "found"),
    [
        (["train", "valid"], "val", "valid"),
        (["training", "validation"], "val", "validation"),
        (["training", "validation"], "train", "training"),
        (["val", "valid"], "val", "val"),
        (["valid", "validation"], "val", "valid"),
        (["train"], "val", "val"),
        (["testing"], "test", "testing"),
    ],
)
def test_a_split_is_found_as_it_is_spelled(tmp_path: Path, there: list[str], split: str, found: str) -> None:
    for name in there:
        (tmp_path / f"images/{name}.txt").mkdir(parents=True)
    assert split_place(tmp_path, "images/{split}.txt", split) == tmp_path / f"images/{found}.txt"


@pytest.mark.parametrize(
    ("there", "images", "masks"),
    [
        (["val", "validation", "validationannot"], "validation", "validationannot"),
        (["val", "valannot", "validation", "validationannot"], "val", "valannot"),
        (["val", "validannot"], "val", "validannot"),
        (["valid"], "valid", "valannot"),
    ],
)
def test_images_and_masks_are_of_one_spelling(tmp_path: Path, there: list[str], images: str, masks: str) -> None:
    for name in there:
        (tmp_path / name).mkdir()
    assert split_places(tmp_path, ["{split}", "{split}annot"], "val") == [tmp_path / images, tmp_path / masks]


def test_images_left_in_val_are_not_paired_with_masks_in_validation(tmp_path: Path) -> None:
    for folder, seed in (("train", 0), ("val", 1), ("validation", 2)):
        save_image(tmp_path / folder / "0.png", random_image(seed))
    for folder in ("trainannot", "validationannot"):
        save_image(tmp_path / folder / "0.png", np.eye(30, 40, dtype=np.uint8))
    data = FolderData(str(tmp_path), classes=["wall", "crack"])
    data.setup("fit")
    assert [path.parent.name for path in data.sets["val"].files[0]] == ["validation", "validationannot"]


def test_classes_in_folders(tmp_path: Path) -> None:
    for seed, folder in enumerate(("training/cat", "training/dog", "validation/dog", "testing/cat", "testing/dog")):
        save_image(tmp_path / folder / "0.png", random_image(seed))
    data = ImageFolderData(root=str(tmp_path))
    assert data.classes == ("cat", "dog")
    for stage, split, count in (("fit", "train", 2), ("fit", "val", 1), ("test", "test", 2)):
        data.setup(stage)
        assert len(data.sets[split]) == count


def test_outlines_as_roboflow_exports_them(tmp_path: Path) -> None:
    shape = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 20, 2, 20, 20]], "bbox": [2, 2, 18, 18]}
    labels = {"categories": [{"id": 1, "name": "leaf"}], "annotations": [shape | {"area": 162, "iscrowd": 0}]}
    for seed, folder in enumerate(("train", "valid")):
        save_image(tmp_path / folder / "0.jpg", random_image(seed))
        images = [{"id": 1, "file_name": "0.jpg", "width": 40, "height": 30}]
        (tmp_path / folder / "_annotations.coco.json").write_text(json.dumps(labels | {"images": images}))
    data = CocoData(str(tmp_path), images="{split}", annotations="{split}/_annotations.coco.json")
    data.setup("fit")
    assert data.sets["val"].files == [(tmp_path / "valid/0.jpg", tmp_path / "valid/_annotations.coco.json")]


def test_boundaries(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        save_image(tmp_path / "images" / split / "0.jpg", random_image(0))
        save_image(tmp_path / "groundTruth" / split / "0.png", np.eye(30, 40, dtype=np.uint8))
    data = BoundaryFolderData(str(tmp_path))
    data.setup("fit")
    assert data.sets["val"].files[0][0] == tmp_path / "images/validation/0.jpg"


def test_val_that_hold_out_passes_over_is_named(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        for seed in range(10):
            save_image(tmp_path / folder / f"{seed}.png", random_image(seed))
            save_image(tmp_path / f"{folder}annot" / f"{seed}.png", np.eye(30, 40, dtype=np.uint8))
            for name in ("cat", "dog"):
                save_image(tmp_path / "classes" / folder / name / f"{seed}.png", random_image(seed))
    masks = FolderData(str(tmp_path), classes=["wall", "crack"], hold_out=True)
    for data, count in ((masks, 1), (ImageFolderData(root=str(tmp_path / "classes"), hold_out=True), 2)):
        with pytest.warns(UserWarning, match=r"/valid is not read: with hold_out a tenth of train validates") as told:
            data.setup("fit")
        assert len(told) == 1
        assert len(data.sets["val"]) == count
