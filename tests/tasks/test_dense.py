"""How tasks with a prediction for each pixel see images when they measure: large ones in windows, also within `fit`."""

import pytest
import torch

from dla.inference import predict_probabilities, views
from dla.tasks import SegmentationTask


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(1, 3, 70, 101, generator=torch.Generator().manual_seed(0))


def task(**options: object) -> SegmentationTask:
    torch.manual_seed(0)
    return SegmentationTask(network="dla46_cida", num_classes=4, **options).eval()


@pytest.mark.parametrize("overlap", [0.25, 0.6])
@pytest.mark.parametrize(
    ("whole", "window", "seen"), [(70 * 101, None, None), (70 * 101 - 1, None, 48), (1, 64, 64), (70 * 101, 64, 64)]
)
def test_large_images_are_seen_in_windows(monkeypatch, images, whole, window, seen, overlap):
    monkeypatch.setattr(views, "WHOLE", whole)
    monkeypatch.setattr(views, "WINDOW", 48)
    one = task(window=window, overlap=overlap, test_flip=True)
    for plain in (True, False):
        expected = predict_probabilities(one.model, images, window=seen, overlap=overlap, flip=not plain)
        torch.testing.assert_close(one.probabilities(images, plain=plain), expected)
        assert torch.equal(one.classes(images, plain=plain), expected.argmax(1).to(torch.uint8))


def test_images_that_are_enlarged_count_at_their_largest(monkeypatch, images):
    monkeypatch.setattr(views, "WHOLE", 70 * 101)
    monkeypatch.setattr(views, "WINDOW", 48)
    one = task(test_scales=[0.5, 1.5])
    expected = predict_probabilities(one.model, images, scales=(0.5, 1.5), window=48)
    torch.testing.assert_close(one.probabilities(images), expected)
    torch.testing.assert_close(one.probabilities(images, plain=True), predict_probabilities(one.model, images))


def test_more_classes_than_8_bits_hold():
    logits = torch.zeros(1, 300, 2, 3)
    logits[0, [299, 7], [0, 1], [2, 0]] = 1
    model = torch.nn.Module().eval()
    model.forward = lambda _: logits
    found = views.predict_classes(model, torch.zeros(1, 3, 2, 3))
    assert found[0, 0, 2] == 299
    assert found[0, 1, 0] == 7
