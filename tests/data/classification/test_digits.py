"""The digits of scikit-learn: a fixed split of all of them."""

import pytest
import torch

from dla.data import DigitsData
from dla.data.classification.digits import read_digits


def test_the_splits_are_all_digits_once():
    from sklearn.datasets import load_digits

    train, val = read_digits("train", size=8), read_digits("val", size=8)
    assert (len(train), len(val)) == (1438, 359)
    digits = load_digits()
    assert val.labels.tolist() == digits.target[4::5].tolist()
    images = torch.cat([train.images, val.images])
    original = torch.from_numpy(digits.images)
    assert torch.equal((images[:, 0].double() * 16 / 255).round().sort(0).values, original.sort(0).values)
    assert torch.equal(images[:, 0], images[:, 2])


def test_images_are_enlarged_and_normalised():
    data = DigitsData(size=16, batch_size=64)
    data.setup("fit")
    assert data.num_classes == 10
    assert data.sets["train"][0].image.shape == (3, 16, 16)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    pixels = torch.cat([batch["image"] for batch in batches])
    assert abs(pixels.mean()) < 0.05
    assert abs(pixels.std() - 1) < 0.05


def test_repeats_are_shifted_anew():
    data = DigitsData(size=16, repeat=2)
    data.setup("fit")
    drawn = data.training()
    assert len(drawn) == 2 * 1438
    batch = data.on_after_batch_transfer(data.collate([drawn[5], drawn[1438 + 5]]), 0)
    assert not torch.equal(*batch["image"])


def test_there_is_no_test_split():
    with pytest.raises(ValueError, match="no test split; measure on val"):
        DigitsData().setup("test")
