"""Smaller output strides: maps that hold the strided network's values, and more of them between."""

import pytest
import torch
from disturbed import disturb

import dla

SIZES = [(64, 96), (70, 65), (33, 47), (1, 1)]


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [("dla34", 8), ("dla34", 16), ("dla46_c", 8), ("dla46_c", 16), ("dla60x_c", 8), ("dla102", 16)],
)
@torch.no_grad()
def test_strided_values_stand_among_the_dilated_ones(name, output_stride):
    """Holschneider's algorithme à trous: what a stride leaves out is computed as well, and nothing else changes."""
    torch.manual_seed(0)
    strided = dla.create_model(name, num_classes=0).double().eval()
    disturb(strided)
    dilated = dla.create_model(name, num_classes=0, output_stride=output_stride).double().eval()
    dilated.load_state_dict(strided.state_dict())
    for size in SIZES if name == "dla46_c" else SIZES[1:2]:
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        every = strided.forward_intermediates(x, intermediates_only=True)
        finer = dilated.forward_intermediates(x, intermediates_only=True)
        for i, (a, b) in enumerate(zip(every, finer, strict=True)):
            stride = min(2**i, output_stride)
            assert b.shape[-2:] == (-(-size[0] // stride), -(-size[1] // stride))
            step = 2**i // stride
            torch.testing.assert_close(b[..., ::step, ::step], a)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", ["dla46_cup", "dla46_cida"])
def test_decoders_take_them_at_any_size(name, output_stride):
    model = dla.create_model(name, num_classes=3, output_stride=output_stride, out_stride=4)
    assert max(spec.stride for spec in model.backbone.feature_specs) == output_stride
    for size in SIZES[:-1]:
        assert model(torch.randn(2, 3, *size)).shape == (2, 3, *size)
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert model.eval()(torch.randn(1, 3, 1, 1)).shape == (1, 3, 1, 1)


@torch.no_grad()
def test_a_dilated_network_exports():
    model = dla.create_model("dla46_c", num_classes=3, output_stride=8).eval()
    x = torch.randn(1, 3, 70, 65)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))
