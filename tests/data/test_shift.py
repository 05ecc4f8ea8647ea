"""Shifts of small images: whole pixels, reflected borders, by the seed of the draw."""

import pytest
import torch
import torch.nn.functional as F

from dla.data.shift import Shift


def test_it_is_the_crop_of_the_reflected_image():
    shift, images = Shift(pad=3, flip=True), torch.randint(256, (40, 3, 9, 7), dtype=torch.uint8)
    parameters = torch.stack([shift.draw(seed) for seed in range(40)])
    padded = F.pad(images.float(), (3, 3, 3, 3), mode="reflect").byte()
    for whole, (down, right, mirror), shifted in zip(
        padded, parameters.tolist(), shift(images, parameters), strict=True
    ):
        crop = whole[
            :, 3 - down : 12 - down, 3 - right : 10 - right
        ]  # moved down, an image shows the padded one's upper part
        assert torch.equal(shifted, crop.flip(2) if mirror else crop)


def test_draws_cover_the_range():
    drawn = torch.stack([Shift(pad=2, flip=True).draw(seed) for seed in range(300)])
    assert [sorted(column.unique().tolist()) for column in drawn.T] == [[-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2], [0, 1]]
    assert not torch.stack([Shift(pad=2, flip=False).draw(seed) for seed in range(50)])[:, 2].any()
    assert torch.equal(Shift(pad=2, flip=True).draw(7), drawn[7])


def test_nothing_to_do_changes_nothing():
    shift, images = Shift(pad=0, flip=False), torch.randint(256, (2, 3, 5, 5), dtype=torch.uint8)
    assert torch.equal(shift(images, torch.stack([shift.draw(0), shift.draw(1)])), images)


def test_a_negative_pad_is_refused():
    with pytest.raises(ValueError, match="pad is -1"):
        Shift(pad=-1, flip=True)
