"""Parameters and multiply-accumulates, against what is known of networks and of layers."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.ops import DeformConv2d

import dla
from dla.costs import macs
from dla.models.deformable import DeformableConv


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("timm/resnet50", 4089),
        ("timm/densenet121", 2834),
        ("torchvision/squeezenet1_1", 349),
        ("torchvision/vit_b_16", 17564),
        ("torchvision/swin_t", 4491),
        ("timm/swin_tiny_patch4_window7_224", 4491),
        ("timm/cait_xxs24_224", 2530),
    ],
)
def test_macs_are_the_known_ones(name, millions):
    """What torchvision's and timm's pages say of 224x224 and 1000 classes, attention in it."""
    with torch.device("meta"):
        model = dla.create_model(name).eval()
        assert macs(model) / 1e6 == pytest.approx(millions, rel=0.003)


class Own(DeformConv2d):
    """torchvision's operation, which is that of our networks on a GPU."""

    def forward(self, x):
        return super().forward(x, x.new_zeros(len(x), 18, *x.shape[2:]))


@pytest.mark.parametrize(
    ("layer", "multiplied"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), 6 * 4 * 5 * (2 * 9)),
        (nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=4), 4 * 8 * 10 * 16),
        (DeformableConv(4, 6), 8 * 10 * (4 * 9) * (27 + 6)),
        (Own(4, 6, 3, padding=1), 8 * 10 * (4 * 9) * 6),
    ],
    ids=["grouped", "transposed", "deformable", "torchvision's deformable"],
)
def test_convolutions(layer, multiplied):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), layer).eval()
    assert macs(model, (8, 10)) == 8 * 10 * 12 + multiplied


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cida", "dla46_c_centernet"])
def test_several_images_have_a_stem_each(name):
    with torch.device("meta"):
        one, three = (dla.create_model(name, in_chans=in_chans).eval() for in_chans in (3, (3, 3, 1)))
        assert macs(three, (32, 40)) - macs(one, (32, 40)) == 32 * 40 * 16 * (3 + 1) * 7 * 7


def test_a_layer_before_a_network_of_ours_says_how_many_channels_images_have():
    with torch.device("meta"):
        network = dla.create_model("dla46_c").eval()
        before = nn.Conv2d(4, 3, 1)
        assert macs(nn.Sequential(before, network), (32, 40)) == 32 * 40 * 4 * 3 + macs(network, (32, 40))


def test_attention_is_counted_where_pytorch_has_one_operation_for_it():
    model = VisionTransformer(image_size=32, patch_size=16, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32).eval()
    assert macs(model, (32, 32)) == macs(copy.deepcopy(model).to("meta"), (32, 32))


def test_all_is_as_before_afterwards():
    before, layer = torch.backends.mha.get_fastpath_enabled(), nn.Conv2d(3, 4, 1)
    layer.bias.requires_grad_(False)
    macs(nn.Sequential(layer), (8, 8))
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
