"""Segmentation is measured as by scikit-learn, of all pixels and of each image, in batches of any size."""

import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from dla.metrics.segmentation import SegmentationMetric

INDEX = torch.tensor([7, 3, 0, 1, 2])
CLASSES = 6  # of which two never occur


@pytest.fixture
def split() -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and masks of five images, of which one is right and another void all over."""
    rng = torch.Generator().manual_seed(0)
    classes, masks = (torch.randint(0, 4, (5, 9, 7), generator=rng) for _ in range(2))
    masks[1] = classes[1]
    masks[torch.rand(masks.shape, generator=rng) < 0.2] = 255
    masks[3] = 255  # as of an image that only fills up a batch
    return classes, masks


def counted(classes: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return masks[masks != 255], classes[masks != 255]


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (1, 1, 1, 1, 1)])
def test_scores_are_those_of_scikit_learn(split: tuple[torch.Tensor, torch.Tensor], sizes: tuple[int, ...]) -> None:
    metric = SegmentationMetric(CLASSES)
    for batch in zip(*(part.split(sizes) for part in (*split, INDEX)), strict=True):
        metric.update(*batch)
    iou, accuracy, images = metric.compute()
    truth, guess = counted(*split)
    assert iou[:4].tolist() == pytest.approx(jaccard_score(truth, guess, labels=range(4), average=None))
    assert iou[4:].isnan().all()  # neither predicted nor true: they must not lower the mean
    assert float(accuracy) == pytest.approx(accuracy_score(truth, guess))
    assert [found.iou for found in images] == sorted(found.iou for found in images)
    assert {found.image for found in images} == {7, 3, 0, 2}
    for image, *found in images:
        place = INDEX.tolist().index(image)
        truth, guess = counted(split[0][place], split[1][place])
        present = sorted({*truth.tolist(), *guess.tolist()})
        mean = jaccard_score(truth, guess, labels=present, average="macro")
        assert found == pytest.approx([mean, accuracy_score(truth, guess)])


def test_images_that_have_no_number_count_among_all_alone(split: tuple[torch.Tensor, torch.Tensor]) -> None:
    metric, numbered = SegmentationMetric(CLASSES), SegmentationMetric(CLASSES)
    metric.update(*split)
    numbered.update(*split, INDEX)
    assert metric.compute().images == []
    torch.testing.assert_close(metric.compute().iou, numbered.compute().iou, equal_nan=True)


def test_what_was_counted_is_forgotten(split: tuple[torch.Tensor, torch.Tensor]) -> None:
    metric, fresh = SegmentationMetric(CLASSES), SegmentationMetric(CLASSES)
    metric.update(*split, INDEX)
    metric.reset()
    for one in (metric, fresh):
        one.update(split[1].clamp(max=3), split[1], INDEX)
    assert metric.compute().images == fresh.compute().images
    torch.testing.assert_close(metric.compute().iou, fresh.compute().iou, equal_nan=True)
