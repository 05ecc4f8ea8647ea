"""The hardest images and the mean loss, by their definitions, over batches and over processes."""

import math

import pytest
import torch
import torch.nn.functional as F

from dla.tasks.hardest import Hardest


def batches(count: int = 30, size: int = 7):
    logits, labels = torch.randn(count, 5), torch.randint(5, (count,))
    labels[3] = -1
    return list(zip(logits.split(size), labels.split(size), torch.arange(count).split(size), strict=True))


def test_they_are_those_of_the_highest_loss():
    parts, metric = batches(), Hardest(count=6)
    for part in parts:
        metric.update(*part)
    mean, hardest = metric.compute()
    logits, labels, _ = (torch.cat(column) for column in zip(*parts, strict=True))
    losses = F.cross_entropy(logits, labels.clamp(min=0), reduction="none").where(labels >= 0, -1)
    counted = labels >= 0
    torch.testing.assert_close(mean, losses[counted].mean())
    assert [hard.image for hard in hardest] == losses.topk(6).indices.tolist()
    for hard in hardest:
        assert hard.loss == pytest.approx(losses[hard.image].item())
        assert hard.label == labels[hard.image]
        assert hard.prediction == logits[hard.image].argmax()
        assert hard.probability == pytest.approx(logits[hard.image].softmax(0).max().item())


def test_fewer_images_than_rows():
    metric = Hardest(count=50)
    for part in batches(10):
        metric.update(*part)
    assert sorted(hard.image for hard in metric.compute()[1]) == [0, 1, 2, 4, 5, 6, 7, 8, 9]  # 3 does not count
    metric.reset()
    metric.update(*batches(4)[0])
    assert len(metric.compute()[1]) == 3


def test_what_several_processes_gather_is_what_one_would_find():
    """By torchmetrics itself, but for what goes from one process to another."""
    parts, one, several = batches(), Hardest(count=6), [Hardest(count=6) for _ in range(2)]
    for number, part in enumerate(parts):
        one.update(*part)
        several[number % 2].update(*part)
    together = several[0]

    def gather(state: torch.Tensor, group: object) -> list[torch.Tensor]:
        (name,) = (name for name in ("rows", "total", "images") if getattr(together, name) is state)
        return [getattr(metric, name) for metric in several]

    together.dist_sync_fn, together.distributed_available_fn = gather, lambda: True
    torch.testing.assert_close(together.compute()[0], one.compute()[0])
    assert together.compute()[1] == one.compute()[1]


def test_the_loss_is_summed_exactly_in_a_network_of_bfloat16():
    module = torch.nn.Module()
    module.metric = Hardest()
    module.to(torch.bfloat16)
    logits, labels = torch.zeros(1, 5, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.int64)
    for image in range(600):
        module.metric.update(logits, labels, torch.tensor([image]))
    mean, hardest = module.metric.compute()
    assert mean.item() == pytest.approx(math.log(5), rel=1e-5)
    assert hardest[0].probability == pytest.approx(1 / 5, rel=1e-5)
    assert len({hard.image for hard in hardest}) == len(hardest)
