"""CenterNet's DLA-34 is what its authors describe: against plain functions, on random weights and statistics."""

import pytest
import torch
import torch.nn.functional as F
from disturbed import randomise
from foreign import CHANNELS, centernet, concat_ida, dead_shapes, deformable, sum_ida
from timm.models import group_parameters
from timm.optim import create_optimizer_v2

import dla
from dla.models.deformable import DeformableConv

HEADS = {"hm": 80, "wh": 2, "reg": 2}


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


@pytest.mark.parametrize(
    ("trunk", "decoder"),
    [
        *(("dla34", decoder) for decoder in ("deformable", "plain", "concat")),
        ("dla46_c", "deformable"),
        ("dla102", "plain"),
    ],
)
@torch.no_grad()
def test_equals_the_reference(trunk, decoder):
    torch.manual_seed(0)
    model = randomise(dla.create_model(f"{trunk}_centernet", heads=HEADS, decoder=decoder)).double()
    for name, value in model.named_parameters():
        if "offsets.weight" in name:
            value.normal_(std=0.02)
    x = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    ida = concat_ida if decoder == "concat" else sum_ida
    expected = centernet(dla.export_weights(model, "official"), x, HEADS, ida, trunk)
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


@pytest.mark.parametrize("decoder", ["plain", "concat"])
@torch.no_grad()
def test_the_maps_on_the_way_to_the_fused_one(decoder):
    model = dla.create_model("dla34_centernet", heads={"hm": 2}, head_channels=8, decoder=decoder).eval()
    x = torch.randn(1, 3, 70, 61)
    steps = model.forward_steps(x)
    assert [tuple(step.shape) for step in steps] == [
        (1, channels, -(-70 // stride), -(-61 // stride)) for channels, stride in model.step_specs
    ]
    assert (model.out_channels, model.out_stride) == model.step_specs[-1] == (64, 4)
    torch.testing.assert_close(model.heads["hm"](steps[-1]), model(x)["hm"])


def test_heatmaps_start_at_one_in_ten():
    model = dla.create_model("dla34_centernet", heads={"hm": 2, "hm_hp": 17, "wh": 2}, head_channels=8)
    biases = {name: head[-1].bias for name, head in model.heads.items()}
    assert biases["hm"].sigmoid().sub(0.1).abs().max() < 1e-2
    assert torch.equal(biases["hm"][:1], biases["hm_hp"][:1])
    assert not biases["wh"].any()


@pytest.mark.parametrize("decoder", ["plain", "concat"])
def test_upsampling_does_not_decay_and_rates_fall_towards_the_input(decoder):
    model = dla.create_model("dla34_centernet", heads={"hm": 2}, head_channels=8, decoder=decoder)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.1, weight_decay=0.05, layer_decay=0.75)
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    parameters = dict(model.named_parameters())
    kept = {name for name, p in parameters.items() if p.ndim > 1 and group_of[id(p)]["weight_decay"] == 0}
    assert kept
    assert kept == {name for name in parameters if ".upsample." in name} == model.no_weight_decay()
    scales = {name: group_of[id(p)]["lr_scale"] for name, p in parameters.items()}
    assert scales["backbone.body.stem.0.0.weight"] == min(scales.values()) < 0.1
    assert {scales[name] for name in parameters if not name.startswith("backbone.")} == {1}
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert len(set(coarse.values())) == 1 + 6 + 1  # the stem, the stages, the rest


@torch.no_grad()
def test_heads_of_one_convolution_have_centernets_names_and_start_at_one_in_ten():
    heads = {"hm": 2, "wh": 2}
    model = dla.create_model("dla34_centernet", heads=heads, head_channels=0, decoder="plain").eval()
    assert model.heads["hm"].bias.sigmoid().sub(0.1).abs().max() < 1e-2
    assert not model.heads["wh"].bias.any()
    exported = dla.export_weights(randomise(model), "official")
    assert {key: tuple(exported[key].shape) for key in exported if key[:2] in heads} == {
        "hm.weight": (2, 64, 1, 1),
        "hm.bias": (2,),
        "wh.weight": (2, 64, 1, 1),
        "wh.bias": (2,),
    }
    copy = dla.create_model("dla34_centernet", heads=heads, head_channels=0, decoder="plain").eval()
    assert dla.load_weights(copy, exported).layout == "CenterNet"
    x = torch.randn(1, 3, 33, 64)
    fused, maps = model.forward_features(x), copy(x)
    for name in heads:
        assert torch.equal(maps[name], F.conv2d(fused, exported[f"{name}.weight"], exported[f"{name}.bias"]))


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
        ({"pretrained": True}, ValueError, "dla34_centernet has no weights by itself: name some of"),
        ({"heads": {"hm.car": 3}}, ValueError, "no head can be named 'hm.car': give names such as 'hm', without dots"),
        ({"heads": {"": 3}}, ValueError, "no head can be named ''"),
        ({"heads": {"type": 3}}, ValueError, "no head can be named 'type'"),
        ({"heads": {"hm": 3, "wh": 0}}, ValueError, "the head 'wh' has 0 channels: give a whole number from 1"),
        ({"heads": {"hm": -1}}, ValueError, "the head 'hm' has -1 channels"),
        ({"head_channels": -1}, ValueError, "head_channels must be 0, .* or more, not -1"),
    ],
)
def test_wrong_options_are_told(options, error, message):
    with pytest.raises(error, match=message):
        dla.create_model("dla34_centernet", **options)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": {"hm": 2.0}}, "the head 'hm' has 2.0 channels: give a whole number"),
        ({"heads": ["hm"]}, r"heads must say how many channels each has, as in .* not \['hm'\]"),
        ({"head_channels": 2.5}, "head_channels must be 0, .* or more, not 2.5"),
    ],
)
def test_options_of_wrong_types_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        dla.create_model("dla34_centernet", **options)
