"""What a run of dense prediction draws: which images, as they were read, beside what the network makes of them."""

import numpy as np
import torch
from torch import nn

from dla.data import ScenesData
from dla.tasks import pictures
from dla.tasks.pictures import CAPTION, GAP, denormalised, grid, shown


class Somewhere(nn.Module):
    device = torch.device("cpu")


def test_images_from_all_over_the_split_are_shown_as_they_were_read():
    data = ScenesData(size=32, train_images=2, val_images=10)
    data.setup("fit")
    items = list(shown(data, Somewhere()))
    assert [int(item["index"]) for item, _ in items] == [0, 3, 6, 9]
    for item, images in items:
        assert torch.equal(images, item["image"][None])
        read = data.sets["val"][int(item["index"])]
        assert np.array_equal(denormalised(item["image"], data), read.image.permute(1, 2, 0).numpy())
        assert np.array_equal(item["mask"], read.mask)


def test_large_pictures_are_reduced_and_small_ones_enlarged(monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST", 300)
    large, small = np.zeros((901, 200, 3), np.uint8), np.zeros((20, 60, 3), np.uint8)
    large[::4, ::4] = 255
    drawn = np.asarray(grid([[large, small]], ("input", "truth")))
    height, width = 226, 180
    assert drawn.shape == (CAPTION + height + GAP, 2 * (width + GAP) + 1, 3)
    assert (drawn[CAPTION : CAPTION + height, :50] == 255).all()
    assert (drawn[CAPTION : CAPTION + 60, width + GAP : width + GAP + 180] == 0).all()
    assert grid([[np.zeros((299, 1, 3), np.uint8)]], ("input",)).height == CAPTION + 299 + GAP  # not as wide as legible


def test_rows_stand_below_captions_and_beside_the_names():
    shades = [[np.full((40, 60, 3), 10 * (3 * i + j), np.uint8) for j in range(3)] for i in range(2)]
    named = np.asarray(grid(shades, ("input", "truth", "prediction"), [("sky", (1, 2, 3))]))
    plain = np.asarray(grid(shades, ("input", "truth", "prediction")))
    height, width = 3 * 40, 3 * 60  # enlarged, since they are small
    for picture in (named, plain):
        for i, row in enumerate(shades):
            for j, shade in enumerate(row):
                top, left = CAPTION + i * (height + GAP), j * (width + GAP)
                there = picture[top : top + height, left : left + width]
                assert np.array_equal(there, np.full((height, width, 3), shade[0, 0, 0]))
            assert (picture[:CAPTION, left : left + width] < 128).any()  # a caption
    assert (named[:, 3 * (width + GAP) :] == (1, 2, 3)).all(-1).any()
