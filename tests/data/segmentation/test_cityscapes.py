"""Cityscapes: label ids become training ids, files are found in order, and missing ones are named."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from dla.data import Cityscapes

# The 19 evaluated label ids in the order of their training ids, from the data set's own definition.
EVALUATED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def test_label_ids_become_training_ids(cityscapes_root: Path) -> None:
    image, mask = Cityscapes(cityscapes_root)[0]
    assert image.shape == (3, 2, 17)
    flat = mask.flatten().tolist()
    assert [flat[label] for label in EVALUATED] == list(range(19))
    assert {flat[label] for label in range(34) if label not in EVALUATED} == {255}
    assert mask.dtype == torch.uint8


def test_nineteen_classes_in_the_order_of_training_ids() -> None:
    assert len(Cityscapes.classes) == len(Cityscapes.colors) == 19
    assert (Cityscapes.classes[0], Cityscapes.classes[13], Cityscapes.classes[18]) == ("road", "car", "bicycle")
    assert Cityscapes.colors[13] == (0, 0, 142)


def test_files_are_sorted_by_city_and_name(cityscapes_root: Path) -> None:
    names = [image.name for image, _ in Cityscapes(cityscapes_root).files]
    assert names == sorted(names)
    assert [name.split("_")[0] for name in names] == ["bremen", "bremen", "ulm", "ulm"]
    assert len(Cityscapes(cityscapes_root, split="val")) == 2


def test_missing_folder_or_file_is_named(cityscapes_root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*leftImg8bit/test: Cityscapes' test split"):
        Cityscapes(cityscapes_root, split="test")
    path = cityscapes_root / "gtFine" / "train" / "ulm" / "ulm_000001_000019_gtFine_labelIds.png"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"ulm_000001_000019_leftImg8bit.png has no .*{path.name}"):
        Cityscapes(cityscapes_root)


def test_an_annotation_of_another_size_is_named(cityscapes_root: Path) -> None:
    image, mask = Cityscapes(cityscapes_root).files[0]
    Image.new("L", (16, 2)).save(mask)
    with pytest.raises(ValueError, match=rf"{image.name}.*17x2.*{mask.name}.*16x2"):
        Cityscapes(cityscapes_root)[0]


def test_no_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit" / "val").mkdir(parents=True)
    (tmp_path / "gtFine" / "val").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no <city>/\*_leftImg8bit.png in .*leftImg8bit/val"):
        Cityscapes(tmp_path, split="val")
