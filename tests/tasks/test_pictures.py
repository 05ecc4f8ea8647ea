"""What a run of dense prediction draws: which images, as they were read, beside what the network makes of them."""

import weakref

import numpy as np
import pytest
import torch
from torch import nn

from dla.data import BoundaryScenesData, DigitsData, ScenesData, ShardsData
from dla.data.sampling import Draw
from dla.tasks import boundary_showcase, pictures, segmentation_showcase
from dla.tasks.boundary_showcase import BoundaryShowcase
from dla.tasks.class_showcase import ClassShowcase
from dla.tasks.pictures import CAPTION, GAP, denormalised, grid, pairs, shown, trained
from dla.tasks.segmentation_showcase import SegmentationShowcase


class Somewhere(nn.Module):
    device = torch.device("cpu")

    def classes(self, images, *, plain):
        return (images[:, 0] > 0).long()

    def probabilities(self, images, *, plain):
        return images.sigmoid()


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


@pytest.mark.parametrize(
    ("of", "kind", "showcase"),
    [
        (segmentation_showcase, ScenesData, SegmentationShowcase),
        (boundary_showcase, BoundaryScenesData, BoundaryShowcase),
    ],
)
def test_large_pictures_are_not_all_in_memory_at_once(monkeypatch, of, kind, showcase):
    drawn = []

    def watched(image, data):
        assert sum(picture() is not None for picture in drawn) <= 1  # the last one's row
        picture = denormalised(image, data)
        drawn.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(of, "denormalised", watched)
    data = kind(size=32, train_images=2, val_images=10)
    data.setup("fit")
    assert showcase().picture(data, Somewhere()).height > 4 * 32
    assert len(drawn) == 4


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


def scenes(kind, **options):
    data = kind(size=64, train_images=20, val_images=2, crop=60, **options)
    data.setup("fit")
    return data


@pytest.mark.parametrize("kind", [ScenesData, BoundaryScenesData])
@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_training_images_are_shown_as_an_epoch_has_them(kind, augment):
    data = scenes(kind, augment=augment, color=0.3)
    state = torch.random.get_rng_state()
    items = trained(data)
    assert torch.equal(torch.random.get_rng_state(), state)  # a run is the same with and without a picture
    assert [int(item["index"]) for item in items] == [0, 3, 5, 8, 11, 14, 16, 19]
    there = data.training()
    for item in items:
        batch = data.on_after_batch_transfer(data.collate([there[Draw(0, int(item["index"]))]]), 0)
        assert torch.equal(item["image"], batch["image"][0])
        assert torch.equal(item["mask"], batch["mask"][0])


@pytest.mark.parametrize(("images", "repeat"), [(100, 7), (3, 7), (2, 3), (9, 1)])
def test_as_many_training_images_are_shown_as_there_are(images, repeat):
    data = ScenesData(size=32, train_images=images, val_images=2, batch_size=1, repeat=repeat)
    data.setup("fit")
    found = [int(item["index"]) for item in trained(data)]
    assert len({*found}) == len(found) == min(8, images * repeat)
    assert len({index % images for index in found}) == min(8, images)


def test_classes_are_painted_over_training_images():
    data = scenes(ScenesData)
    drawn, item = np.asarray(SegmentationShowcase().samples(data)), trained(data)[3]  # in the second row, at the right
    side = 3 * 60
    top, left = CAPTION + side + GAP, 2 * (side + GAP)
    image, truth = (drawn[top : top + side : 3, left + at : left + at + side : 3] for at in (0, side + GAP))
    assert np.array_equal(image, denormalised(item["image"], data))
    counted = item["mask"] != 255
    colors = np.array(data.colors)[item["mask"][counted]]
    assert np.array_equal(truth[counted], image[counted] // 2 + colors // 2)
    assert np.array_equal(truth[~counted], image[~counted] // 2)


def test_boundaries_are_drawn_upon_training_images():
    data = scenes(BoundaryScenesData)
    drawn, item = np.asarray(BoundaryShowcase().samples(data)), trained(data)[0]
    side = 3 * 60
    truth = drawn[CAPTION : CAPTION + side : 3, side + GAP : 2 * side + GAP : 3]
    lines = (item["mask"] == 1).numpy()
    assert lines.any()
    assert (truth[lines] == (255, 0, 0)).all()
    assert np.array_equal(truth[~lines], denormalised(item["image"], data)[~lines])


def test_training_images_have_the_names_of_their_classes():
    data = DigitsData()
    data.setup("fit")
    drawn = np.asarray(ClassShowcase().samples(data))
    rows, tile = 2, 160
    assert drawn.shape == (rows * (tile + 18), 6 * (tile + 4), 3)
    first = denormalised(trained(data)[0]["image"], data)
    assert np.array_equal(drawn[: tile : tile // 16, : tile : tile // 16], first)
    assert (drawn[tile : tile + 18, :tile] < 128).any()


def test_of_a_stream_none_are_shown(tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.tar").touch()
    data = ShardsData(train=f"{tmp_path}/{{0..1}}.tar", val=None, train_images=10, count=2)
    data.sets["train"] = data.read("train")  # two files that hold nothing
    assert trained(data) == []
    assert ClassShowcase().samples(data) is None


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 2, 2)])
def test_pairs_fill_their_rows(count, rows, columns):
    images = [(np.zeros((200, 200, 3), np.uint8),) * 2] * count
    assert pairs(images).size == (2 * columns * (200 + GAP) + 1, rows * (200 + GAP) + CAPTION)


def test_a_title_stands_above_each_row_and_moves_nothing_else():
    rng = np.random.default_rng(0)
    rows = [[rng.integers(100, 256, (210, 220, 3), dtype=np.uint8) for _ in range(2)] for _ in range(3)]
    plain, titled = (
        np.array(grid(rows, ("input", "truth"), titles=titles)) for titles in ((), ("8.2 %: é.png", "", ""))
    )
    assert titled.shape == (plain.shape[0] + 3 * CAPTION, *plain.shape[1:])
    step = 210 + GAP
    for i in range(3):
        top = CAPTION + i * (step + CAPTION)
        assert (titled[top : top + CAPTION].min() < 60) == (i == 0)  # black on white, where there is a title
        here = plain[CAPTION + i * step : CAPTION + i * step + 210]
        assert np.array_equal(titled[top + CAPTION : top + CAPTION + 210], here)
    assert np.array_equal(titled[:CAPTION], plain[:CAPTION])
