"""CenterNet's DLA-34 is what its authors describe: against plain functions, on random weights and statistics."""

import pytest
import torch
import torch.nn.functional as F
from foreign import CHANNELS, base_maps, concat_ida, dead_shapes, deformable, head, lines, sum_ida
from test_parity import randomise

import dla
from dla.models.deformable import DeformableConv

HEADS = {"hm": 80, "wh": 2, "reg": 2}


def reference(state, x, heads, ida):
    """The heads' maps, from weights under CenterNet's own names."""
    ends = lines(base_maps("dla34", state, x)[1:], state, ida)
    fused = ends[0] if ida is concat_ida else ida(ends[:3], state, "ida_up")[-1]
    return {name: head(fused, state, name) for name in heads}


@torch.no_grad()
def test_deformable_convolution_is_what_its_plain_computation_gives():
    torch.manual_seed(0)
    layer = DeformableConv(5, 7).double()
    for value in layer.parameters():
        value.normal_()
    x = torch.randn(2, 5, 9, 13, dtype=torch.float64)
    offsets = layer.offsets(x)
    assert offsets.abs().max() > 9  # some samples lie outside the map
    down, right, weights = offsets.chunk(3, dim=1)
    moves = torch.cat([down, right], 1)
    expected = deformable(x, moves, weights.sigmoid(), layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(layer(x), expected)


@torch.no_grad()
def test_deformable_convolution_starts_as_half_a_plain_one():
    layer = DeformableConv(4, 6)
    x = torch.randn(1, 4, 8, 11)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.conv.weight / 2, padding=1))


@torch.no_grad()
def test_deformable_convolution_in_mixed_precision():
    torch.manual_seed(0)
    layer = DeformableConv(8, 6)
    x = torch.randn(1, 8, 10, 9)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert (out - layer(x)).abs().max() < 1e-2 * out.abs().max()


@torch.no_grad()
def test_deformable_convolution_in_bfloat16():
    torch.manual_seed(0)
    layer = DeformableConv(8, 6)
    for value in layer.parameters():
        value.normal_(std=0.1)
    x = torch.randn(1, 8, 10, 9)
    expected = layer(x)
    out = layer.bfloat16()(x.bfloat16())
    assert out.dtype == torch.bfloat16
    assert (out - expected).abs().max() < 2e-2 * expected.abs().max()


@torch.no_grad()
def test_exports():
    model = dla.create_model("dla34_centernet", heads={"hm": 3}, head_channels=8).eval()
    x = torch.randn(1, 3, 70, 61)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x)["hm"], model(x)["hm"])


def test_parameters_are_the_authors_less_the_unused():
    with torch.device("meta"):
        model = dla.create_model("dla34_centernet", heads=HEADS)
    unused = dead_shapes("dla34")
    assert sum(p.numel() for p in model.parameters()) + 41_728 == 19_675_892
    assert len(model.state_dict()) + len(unused) == 398


@pytest.mark.parametrize("decoder", ["deformable", "plain", "concat"])
@torch.no_grad()
def test_equals_the_reference(decoder):
    torch.manual_seed(0)
    model = randomise(dla.create_model("dla34_centernet", heads=HEADS, decoder=decoder)).double()
    for name, value in model.named_parameters():
        if "offsets.weight" in name:
            value.normal_(std=0.02)
    x = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    expected = reference(
        dla.export_weights(model, "official"), x, HEADS, concat_ida if decoder == "concat" else sum_ida
    )
    maps = model(x)
    assert list(maps) == list(HEADS)
    for name, channels in HEADS.items():
        assert maps[name].shape == (1, channels, 8, 16)
        torch.testing.assert_close(maps[name], expected[name], rtol=1e-9, atol=1e-9 * float(expected[name].abs().max()))


@pytest.mark.parametrize("decoder", ["deformable", "plain", "concat"])
def test_odd_sizes_and_every_parameter_gets_a_gradient(decoder):
    model = dla.create_model("dla34_centernet", heads={"hm": 3, "id": 128}, head_channels=32, decoder=decoder)
    model.set_grad_checkpointing()
    maps = model(torch.randn(2, 3, 70, 61))
    assert {name: tuple(value.shape) for name, value in maps.items()} == {"hm": (2, 3, 18, 16), "id": (2, 128, 18, 16)}
    sum(value.square().mean() for value in maps.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_heatmaps_start_at_one_in_ten():
    model = dla.create_model("dla34_centernet", heads={"hm": 2, "hm_hp": 17, "wh": 2}, head_channels=8)
    biases = {name: head[-1].bias for name, head in model.heads.items()}
    assert biases["hm"].sigmoid().sub(0.1).abs().max() < 1e-2
    assert torch.equal(biases["hm"][:1], biases["hm_hp"][:1])
    assert not biases["wh"].any()


def test_other_norms_and_channels():
    model = dla.create_model("dla34_centernet", heads={}, in_chans=1, norm_layer="groupnorm").eval()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    assert model.forward_features(torch.randn(1, 1, 33, 32)).shape == (1, CHANNELS["dla34"][2], 9, 8)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"decoder": "dcn"}, ValueError, "'deformable', 'plain' or 'concat', not 'dcn'"),
        ({"num_classes": 3}, TypeError, "num_classes"),
        ({"features_only": True}, ValueError, "is for a classifier, dla34$"),
        ({"pretrained": True}, ValueError, "name the weights"),
    ],
)
def test_wrong_options_are_told(options, error, message):
    with pytest.raises(error, match=message):
        dla.create_model("dla34_centernet", **options)
