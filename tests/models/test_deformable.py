"""Deformable convolutions of maps sampled on a grid are torchvision's, in value, gradients and 16 bits."""

import pytest
import torch
from torch import nn
from torchvision.ops import deform_conv2d

import dla
from dla.costs import training_memory
from dla.models.deformable import DeformableConv, SampledConv2d

SIZE = (13, 10)


@pytest.mark.parametrize(
    ("maps", "options"),
    [
        (1, {"kernel_size": 3, "padding": 1}),
        (3, {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 2}),
        (2, {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 3), "dilation": (2, 1), "bias": False}),
        (1, {"kernel_size": 1}),
    ],
)
@pytest.mark.parametrize("weighted", [True, False])
def test_equals_torchvisions(maps, options, weighted):
    """With offsets of up to the size of the map, so that many samples lie outside it."""
    torch.manual_seed(0)
    conv = SampledConv2d(6, 8, **options).double()
    taps = conv.kernel_size[0] * conv.kernel_size[1]
    sides = conv._conv_forward(torch.zeros(2, 6, *SIZE).double(), conv.weight, None).shape[2:]
    given = [torch.randn(2, 6, *SIZE).double(), 4 * torch.randn(2, 2 * maps * taps, *sides).double()]
    if weighted:
        given.append(torch.rand(2, maps * taps, *sides).double())
    with torch.no_grad():
        alone = conv(*given)
    learned = [*given, *conv.parameters()]
    for value in given:
        value.requires_grad_()
    x, offset, *mask = given
    sizes = conv.stride, conv.padding, conv.dilation
    expected = deform_conv2d(x, offset, conv.weight, conv.bias, *sizes, *mask)
    found = conv(*given)
    torch.testing.assert_close(alone, found, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(found)
    gradients = [torch.autograd.grad(out, learned, direction) for out in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_in_16_bits_samples_lie_where_they_do_in_32(dtype):
    """On a map of 300 pixels, whose last ones bfloat16 cannot tell apart."""
    torch.manual_seed(0)
    layer, x = DeformableConv(3, 4), torch.randn(1, 3, 9, 300)
    expected = layer(x)
    found = layer.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert (found - expected).abs().max() < 2e-2 * expected.abs().max()


class Summed(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.model = dla.create_model("dla46_c_centernet", heads={"hm": 1}, head_channels=8, **options)

    def forward(self, x):
        return self.model(x)["hm"]


def test_samples_are_computed_again_in_half_the_memory_and_less():
    kept, again = (training_memory(lambda on=on: Summed(memory_efficient=on), (96, 96), 2) for on in (False, True))
    assert again < kept / 2.5
