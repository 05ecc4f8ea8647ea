"""Pixels of classes are counted, each once, and rare classes weigh more."""

import numpy as np
import pytest
import torch
from PIL import Image

from dla.data import BoundaryScenesData, FolderData, Scenes
from dla.data.loading import Seeded
from dla.data.segmentation.balance import balanced, count_pixels


def test_each_pixel_counts_once_in_any_number_of_parts():
    scenes = Seeded(Scenes(7, size=24))
    masks = torch.stack([scenes[i]["mask"] for i in range(7)])
    expected = [(masks == k).sum().item() for k in range(6)]
    assert count_pixels(scenes, 6).tolist() == expected
    parts = [count_pixels(scenes, 6, part=part, parts=3) for part in range(3)]
    assert sum(parts).tolist() == expected
    assert count_pixels(scenes, 6, part=8, parts=9).tolist() == [0] * 6  # more processes than images


@pytest.mark.parametrize("cache", [False, True])
def test_of_a_folder_void_does_not_count_and_val_neither(tmp_path, cache):
    for split, values in (("train", [[0, 0, 255], [0, 2, 255]]), ("val", [[1, 1, 1], [1, 1, 1]])):
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir()
        Image.new("RGB", (3, 2)).save(tmp_path / split / "a.png")
        Image.fromarray(np.array(values, np.uint8)).save(tmp_path / f"{split}annot" / "a.png")
    data = FolderData(str(tmp_path), classes=["wall", "crack", "door"], cache=cache)
    data.setup("fit")
    assert data.count_pixels().tolist() == [3, 0, 1]


def test_weights_are_the_roots_of_how_rare_classes_are():
    weights = balanced(torch.tensor([10_000, 400, 100, 0]))
    assert weights.tolist() == pytest.approx([0.2, 1.0, 2.0, 1.0])
    assert balanced(torch.zeros(2, dtype=torch.int64)).tolist() == [1, 1]


def test_boundaries_of_several_annotators_are_counted_as_they_are_merged():
    data = BoundaryScenesData(size=24, train_images=3, val_images=1, batch_size=1)
    data.setup("fit")
    masks = torch.stack([data.whole("train")[i]["mask"] for i in range(3)])
    assert data.count_pixels().tolist() == [(masks == 0).sum(), (masks == 1).sum()]
