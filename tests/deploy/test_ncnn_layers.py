"""Layers for ncnn give what the folded network gives, and take the place of what they know alone."""

import copy

import pytest
import torch
from disturbed import disturbed
from torch import nn

from dla.deploy import folded
from dla.deploy.ncnn_layers import CoarseConvReLU, Interpolated, for_ncnn
from dla.deploy.outputs import difference
from dla.kernels.image_conv import ImageConv2d
from dla.models.upsample import FixedUpsample

pytestmark = pytest.mark.usefixtures("unchecked_shapes")


@pytest.mark.parametrize("size", [(14, 22), (13, 22), (14, 21), (1, 1), (8, 3)], ids=str)
@pytest.mark.parametrize("window", [5, 7])
@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_the_function_is_the_same(channels, window, size):
    layers = nn.Sequential(nn.Conv2d(channels, 6, window, padding=window // 2), nn.ReLU())
    found = for_ncnn(layers)
    assert [type(layer) for layer in found] == [CoarseConvReLU, nn.Identity]
    x = torch.randn(2, channels, *size)
    assert found(x).shape == layers(x).shape
    assert difference([layers(x)], [found(x)]) < 1e-6


@torch.no_grad()
def test_the_stem_of_our_networks_is_one():
    model = folded(disturbed("dla46_c", num_classes=3))
    before = copy.deepcopy(model.state_dict())
    found, x = for_ncnn(model), torch.randn(2, 3, 49, 34)
    assert sum(isinstance(layer, CoarseConvReLU) for layer in found.modules()) == 1
    assert difference([model(x)], [found(x)]) < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(5, 8, 7, padding=3),
        nn.Conv2d(3, 8, 7, stride=2, padding=3),
        nn.Conv2d(3, 8, 7),
        nn.Conv2d(3, 8, 7, padding=3, bias=False),
        nn.Conv2d(3, 9, 7, padding=3, groups=3),
        nn.Conv2d(3, 8, 7, padding=3, padding_mode="reflect"),
        nn.Conv2d(3, 8, 5, padding=4, dilation=2),
        nn.Conv2d(3, 8, (5, 7), padding=(2, 3)),
    ],
    ids=str,
)
def test_others_stay(conv):
    assert type(for_ncnn(nn.Sequential(conv, nn.ReLU()))[0]) is nn.Conv2d


def test_without_an_activation_it_stays():
    conv = ImageConv2d(3, 8, 7, padding=3)
    assert type(for_ncnn(nn.Sequential(conv, nn.Sigmoid()))[0]) is ImageConv2d


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("less", [0, 1, -3], ids=["whole", "cropped", "beyond"])
@torch.no_grad()
def test_interpolation_is_the_transposed_convolution(factor, less):
    layers = nn.ModuleList([FixedUpsample(factor)])
    found, x = for_ncnn(layers)[0], torch.randn(2, 5, 3, 4)
    assert isinstance(found, Interpolated)
    size = 3 * factor - less, 4 * factor - less
    assert found(x, size).shape == (2, 5, *size)
    torch.testing.assert_close(found(x, size), layers[0](x, size))


@torch.no_grad()
def test_dense_predictors_interpolate():
    model = folded(disturbed("dla46_cup", num_classes=3))
    found, x = for_ncnn(model), torch.randn(2, 3, 49, 34)
    assert sum(isinstance(layer, Interpolated) for layer in found.modules()) == 1
    assert difference([model(x)], [found(x)]) < 1e-5
    assert type(for_ncnn(nn.Sequential(FixedUpsample(1)))[0]) is FixedUpsample
