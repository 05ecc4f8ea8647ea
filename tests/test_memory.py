"""What a forward pass keeps is counted to the byte, each storage once, and the same on the meta device."""

import pytest
import torch
from torch import nn

import dla
from dla.memory import saved_bytes

FLOAT = 4


def test_a_convolution_keeps_its_input_alone():
    assert saved_bytes(nn.Conv2d(3, 7, 3), torch.zeros(2, 3, 9, 11)) == 2 * 3 * 9 * 11 * FLOAT


def test_a_tensor_that_two_layers_keep_counts_once():
    """Of conv, relu, conv: the first keeps the images; the relu's result is kept by itself and the second."""
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(inplace=True), nn.Conv2d(5, 2, 1))
    assert saved_bytes(model, torch.zeros(2, 3, 9, 11)) == 2 * (3 + 5) * 9 * 11 * FLOAT


def test_what_is_there_anyway_does_not_count():
    """In evaluation a batch norm keeps its running statistics and weights beside its input, which it needs."""
    assert saved_bytes(nn.BatchNorm2d(3).eval(), torch.zeros(2, 3, 5, 7)) == 2 * 3 * 5 * 7 * FLOAT


def test_nothing_is_kept_without_gradients():
    with torch.no_grad():
        assert saved_bytes(nn.Conv2d(3, 7, 3), torch.zeros(2, 3, 9, 11)) == 0


@pytest.mark.parametrize("name", ["dla46_c", "timm/densenet121"])
def test_the_meta_device_counts_alike(name):
    model = dla.create_model(name, num_classes=10, stem_stride=1).train()
    kept = saved_bytes(model, torch.zeros(2, 3, 33, 33))
    assert saved_bytes(model.to("meta"), torch.zeros(2, 3, 33, 33, device="meta")) == kept


def test_checkpointing_keeps_less():
    model = dla.create_model("dla46_c", num_classes=10).train()
    images = torch.zeros(2, 3, 70, 97)
    whole = saved_bytes(model, images)
    model.set_grad_checkpointing()
    assert saved_bytes(model, images) < whole / 4
