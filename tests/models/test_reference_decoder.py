"""`dla_up` against a plain, functional writing of the authors' decoder, on random weights and statistics."""

import math

import pytest
import torch
import torch.nn.functional as F
from disturbed import randomise
from foreign import conv_bn_relu, upsampled

import dla
from dla.models.upsample import FixedUpsample, LearnedUpsample, bilinear_kernel


def bring(x, state, prefix):
    """Project where there is a projection, then double the size by the depthwise transposed convolution."""
    if f"{prefix}.project.0.0.weight" in state:
        x = conv_bn_relu(x, state, f"{prefix}.project.0.0", f"{prefix}.project.0.1", 0)
    return upsampled(x, state[f"{prefix}.upsample.conv.weight"])


def authors_kernel(factor):
    """The bilinear filling of the authors' transposed convolution, pixel by pixel."""
    size = 2 * factor
    f = math.ceil(size / 2)
    c = (2 * f - 1 - f % 2) / (2 * f)
    return [[(1 - abs(i / f - c)) * (1 - abs(j / f - c)) for j in range(size)] for i in range(size)]


def dla_up(maps, state):
    """From the two coarsest maps on: all coarse maps go to the next finer size; fuse them there one after another."""
    layers = list(maps)
    for i in range(len(maps) - 1):
        start = len(maps) - 2 - i
        fused = layers[start]
        for k in range(1, len(layers) - start):
            up = bring(layers[start + k], state, f"lines.{i}.bring.{k - 1}")
            node = f"lines.{i}.aggregate.nodes.{k - 1}"
            fused = conv_bn_relu(torch.cat([fused, up], 1), state, f"{node}.conv", f"{node}.norm", 1)
            layers[start + k] = fused
    return layers[-1]


@pytest.mark.parametrize("name", ["dla34up", "dla46_cup"])
@pytest.mark.parametrize("out_stride", [2, 4, 8, 16])
@torch.no_grad()
def test_repeated_aggregation(name, out_stride):
    torch.manual_seed(0)
    model = randomise(dla.create_model(name, num_classes=5, out_stride=out_stride))
    x = torch.randn(1, 3, 64, 96)
    maps = model.backbone(x)
    assert maps[0].shape[-1] == 96 // out_stride
    expected = dla_up(maps, model.decoder.state_dict())
    torch.testing.assert_close(model.forward_features(x), expected, rtol=1e-5, atol=1e-5)

    logits = F.conv2d(expected, model.head.classify.weight, model.head.classify.bias)
    weight = torch.tensor(authors_kernel(out_stride)).expand(5, 1, -1, -1)
    logits = F.conv_transpose2d(logits, weight, stride=out_stride, padding=out_stride // 2, groups=5)
    torch.testing.assert_close(model(x), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_upsampling_starts_as_bilinear_interpolation(factor):
    x = torch.randn(1, 3, 6, 5)
    up = LearnedUpsample(3, factor)(x, (6 * factor, 5 * factor))
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))  # the borders differ: zeros lie outside
    torch.testing.assert_close(up[inner], expected[inner], rtol=1e-5, atol=1e-5)
    assert (up - expected).abs().max() > 1e-3


def test_upsampling_crops_what_exceeds_and_interpolates_what_falls_short():
    up = LearnedUpsample(3, 2)
    x = torch.randn(1, 3, 6, 5)
    torch.testing.assert_close(up(x, (11, 9)), up(x, (12, 10))[..., :11, :9])
    assert up(x, (13, 12)).shape == (1, 3, 13, 12)


@pytest.mark.parametrize("factor", [3, 16, 32])
def test_the_kernel_outlives_types_that_cannot_hold_it(factor):
    there_and_back = FixedUpsample(factor).bfloat16().float()
    assert torch.equal(there_and_back.kernel, bilinear_kernel(factor))
    double = bilinear_kernel(factor, dtype=torch.float64)
    torch.testing.assert_close(FixedUpsample(factor).double().kernel, double, rtol=0, atol=1e-15)
    assert not FixedUpsample(factor).half().state_dict()
