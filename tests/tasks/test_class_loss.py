"""Losses of a classifier, which options of them fit together, and how images are mixed."""

import pytest
import torch
import torch.nn.functional as F

from dla.tasks.class_loss import Shuffle, class_loss, mixing


def options(**changes):
    return {"smoothing": 0.0, "threshold": None, "mixed": False} | changes


def test_cross_entropy_is_torchs():
    logits, labels = torch.randn(5, 7), torch.randint(7, (5,))
    for target in (labels, torch.rand(5, 7).softmax(1)):
        loss = class_loss("cross_entropy", **options(smoothing=0.1, mixed=True))(logits, target)
        torch.testing.assert_close(loss, F.cross_entropy(logits, target, label_smoothing=0.1))


def test_bce_asks_of_each_class_by_itself():
    logits = torch.randn(2, 4)
    there = torch.tensor([[0, 1.0, 0, 0], [0, 0, 0, 1.0]])
    expected = F.binary_cross_entropy_with_logits(logits, there)
    torch.testing.assert_close(class_loss("bce", **options())(logits, torch.tensor([1, 3])), expected)
    mixed = torch.tensor([[0.1, 0.9, 0, 0], [0.0, 0.15, 0, 0.85]])
    torch.testing.assert_close(class_loss("bce", **options(threshold=0.2, mixed=True))(logits, mixed), expected)
    parts = F.binary_cross_entropy_with_logits(logits, mixed)
    torch.testing.assert_close(class_loss("bce", **options(mixed=True))(logits, mixed), parts)
    smooth = there * 0.8 + 0.2 / 4
    loss = class_loss("bce", **options(smoothing=0.2))(logits, torch.tensor([1, 3]))
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, smooth))


@pytest.mark.parametrize(
    ("kind", "changes", "fault"),
    [
        ("cross_entropy", {"threshold": 0.2}, "bce_threshold is 0.2, but the loss is cross_entropy"),
        ("bce", {"threshold": 1.0}, "bce_threshold is 1.0; expected a probability"),
        ("bce", {"smoothing": 0.1, "mixed": True}, "label_smoothing is 0.1, which loss bce cannot apply"),
        ("bce", {"smoothing": 0.1, "threshold": 0.2}, "label_smoothing is 0.1, which loss bce cannot apply"),
    ],
)
def test_options_that_do_not_fit_are_named(kind, changes, fault):
    with pytest.raises(ValueError, match=fault):
        class_loss(kind, **options(**changes))


@pytest.mark.usefixtures("unchecked_shapes")  # with which the annotation refuses it before
def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="loss is 'ce'; expected one of cross_entropy, bce"):
        class_loss("ce", **options())


def test_a_loss_adds_nothing_to_a_checkpoint():
    assert class_loss("bce", **options()).state_dict() == class_loss("cross_entropy", **options()).state_dict() == {}


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.5, 0.0), (0.0, 1.0), (0.5, 1.0)])
def test_mixed_images_have_the_probabilities_of_their_parts(mixup, cutmix):
    labels = torch.tensor([0, 1, 2, 0])
    parts = F.one_hot(labels, 3).float()
    images = parts[:, :, None, None].expand(4, 3, 8, 8)  # channel k of an image of class k is 1
    for _ in range(5):
        mixed, probabilities = mixing(mixup, cutmix, 3)(images, labels)
        torch.testing.assert_close(mixed.mean((2, 3)), probabilities)
        torch.testing.assert_close(probabilities.sum(1), torch.ones(4))
        torch.testing.assert_close(probabilities.sum(0), parts.sum(0))


def test_without_mixing_nothing_changes():
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    unchanged = mixing(0, 0, 3)(images, labels)
    assert torch.equal(unchanged[0], images)
    assert torch.equal(unchanged[1], labels)


def test_both_kinds_of_mixing_get_their_turn():
    mix, images, labels = mixing(1.0, 1.0, 3), torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 16, 16), torch.arange(3)
    torch.manual_seed(0)
    blended = [len(mix(images, labels)[0][1].unique()) == 1 for _ in range(30)]
    assert 5 < sum(blended) < 25


def test_copies_of_an_image_are_not_mixed_with_each_other():
    labels = torch.arange(20).repeat_interleave(3)  # as repeated augmentation draws them
    images = torch.zeros(60, 3, 8, 8)
    torch.manual_seed(0)
    alone = [(mixing(1.0, 0.0, 20)(images, labels)[1].max(1).values > 0.999).float().mean() for _ in range(10)]
    assert sum(alone) / 10 < 0.1  # two of three where neighbours are paired


def test_the_order_is_sent_without_waiting(waits):
    images, labels = torch.empty(8, 3, 4, 4, device="cuda"), torch.zeros(8, dtype=torch.long, device="cuda")
    shuffled, _ = Shuffle()(images, labels)
    assert shuffled.device == images.device
    assert waits == []


def test_the_order_is_waited_for_where_it_would_be_gone(unawaited):
    images, labels = torch.empty(8, 3, 4, 4, device="meta"), torch.zeros(8, dtype=torch.long, device="meta")
    assert Shuffle()(images, labels)[0].device == images.device
    assert unawaited == []
    torch.zeros(1).to("meta", non_blocking=True)
    assert len(unawaited) == 1  # so it would have been seen
