"""Aggregation over any backbone: every family, every structure, any size; names, options, errors, the command."""

import json
import re
import subprocess
import sys
from functools import partial
from inspect import signature

import pytest
import timm
import torch
from disturbed import disturb
from torch import nn
from torchvision.models import resnet18

import dla
from dla.cli import main
from dla.models import DECODERS, Aggregated, AggregatedClassifier, DensePredictor
from dla.models.tried import FAMILIES
from dla.models.upsample import FixedUpsample
from dla.weights import WeightsError

SMALL = {
    "test_resnet": {},
    "resnext50_32x4d": {"layers": [1, 1, 1, 1]},
    "densenet121": {"block_config": [2, 2, 2, 2]},
    "convnext_atto": {"depths": [1, 1, 1, 1]},
    "test_efficientnet": {},
    "mobilenetv4_conv_small_035": {},
    "regnetx_002": {},
    "swin_tiny_patch4_window7_224": {"embed_dim": 24, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8]},
    "pvt_v2_b0": {"depths": [1, 1, 1, 1]},
    "test_vit": {},
    "dla46_c": {},
}
SIZES = [(70, 97), (64, 64), (33, 47)]


def build(name, structure="ida", **options):
    return dla.aggregate(name, structure=structure, out_channels=16, backbone_options=SMALL.get(name), **options)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_any_size_in_either_memory_format(name):
    torch.manual_seed(0)
    model = disturb(build(name))
    stride = model.out_stride
    assert stride == model.backbone.feature_specs[0].stride
    for height, width in SIZES:
        x = torch.randn(2, 3, height, width)
        out = model(x)
        assert out.shape == (2, 16, -(-height // stride), -(-width // stride))
    last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert (last - out).abs().max() < 1e-4 * out.abs().max()


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    model = disturb(build(name))
    model(torch.randn(2, 3, 70, 97)).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("structure", DECODERS)
@pytest.mark.parametrize("name", ["test_vit", "dla46_c"])
def test_every_structure_learns_and_shows_its_steps(name, structure):
    torch.manual_seed(0)
    model = disturb(build(name, structure))
    x = torch.randn(2, 3, 70, 97)
    steps = model.forward_steps(x)
    expected = [(2, channels, -(-70 // stride), -(-97 // stride)) for channels, stride in model.step_specs]
    assert [tuple(step.shape) for step in steps] == expected
    assert len(steps) == len(model.backbone.feature_specs)
    torch.testing.assert_close(model(x), steps[-1])
    model(x).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("structure", DECODERS)
@pytest.mark.parametrize(("out_stride", "maps"), [(2, 4), (4, 4), (8, 3), (16, 2)])
@torch.no_grad()
def test_the_stride_of_the_result(structure, out_stride, maps):
    model = build("convnext_atto", structure, out_stride=out_stride).eval()
    assert len(model.backbone.feature_specs) == maps
    assert model(torch.randn(1, 3, 70, 97)).shape == (1, 16, -(-70 // out_stride), -(-97 // out_stride))
    assert model.step_specs[-1] == (16, out_stride)


@pytest.mark.parametrize("name", ["resnet18", "dla34"])
def test_structures_have_comparable_parameters(name):
    """Whole networks within 8 % of each other; U-Net as many as IDA but for the upsampling kernels."""
    with torch.device("meta"):
        models = {structure: dla.aggregate(name, structure=structure) for structure in DECODERS}
    counts = {s: sum(p.numel() for p in model.parameters()) for s, model in models.items()}
    assert max(counts.values()) < 1.08 * min(counts.values())
    learned = {
        s: sum(p.numel() for n, p in models[s].decoder.named_parameters() if "upsample" not in n)
        for s in ("ida", "unet")
    }
    assert learned["ida"] == learned["unet"]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@torch.no_grad()
def test_exports(name):
    model = disturb(build(name))
    x = torch.randn(1, 3, 70, 97)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_every_family_exports(name):
    test_exports(name)


@pytest.mark.slow
def test_compiles_to_one_graph():
    """In a process of its own: here, the run-time checks of shapes stand in the compiler's way."""
    program = f"""
import dla, torch
x = torch.randn(2, 3, 70, 97)
for name, options in {SMALL}.items():
    torch._dynamo.reset()
    model = dla.aggregate(name, out_channels=16, backbone_options=options).eval()
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(x), model(x))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_modules_of_timm_torchvision_and_ours():
    for module in (timm.create_model("test_resnet", features_only=True), resnet18(), dla.create_model("dla46_c")):
        model = dla.aggregate(module, out_channels=8)
        assert model(torch.randn(2, 3, 70, 97)).shape == (2, 8, 35, 49)


@pytest.mark.parametrize(
    "make", [partial(timm.create_model, "test_resnet"), resnet18, partial(dla.create_model, "dla46_c")]
)
def test_a_module_that_is_given_stays_as_it_was(make):
    module = make().eval()
    x, before = torch.randn(1, 3, 64, 64), {key: value.clone() for key, value in module.state_dict().items()}
    expected = module(x)
    dla.aggregate(module, out_channels=8, out_stride=4)(x)
    assert torch.equal(module(x), expected)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("out_indices", [None, (1, 3, 4, 5)])
def test_maps_that_are_finer_than_the_result_are_left_out_of_a_list_of_ours(out_indices):
    module = dla.create_model("dla46_c", features_only=True, out_indices=out_indices)
    model = dla.aggregate(module, out_channels=8, out_stride=8)
    assert [spec.stride for spec in model.backbone.feature_specs] == [8, 16, 32]
    assert model(torch.randn(2, 3, 70, 97)).shape == (2, 8, 9, 13)


def test_a_rewired_backbone():
    """IDA across stages over HDA within them (Figure 2 of the paper)."""
    model = dla.aggregate(dla.rewire(timm.create_model("resnet18"), verbose=False), out_channels=8)
    model(torch.randn(2, 3, 70, 97)).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


class Moments(nn.Module):
    """The user's own: the mean and the variance of the colours, at two strides."""

    def forward(self, x):
        mean = nn.functional.avg_pool2d(x, 4, ceil_mode=True)
        return {"fine": mean, "coarse": nn.functional.avg_pool2d(x.square(), 8, ceil_mode=True)}


def test_a_module_of_ones_own():
    model = dla.aggregate(Moments(), structure="unet", out_channels=8)
    assert model(torch.randn(2, 3, 70, 97)).shape == (2, 8, 18, 25)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "dla46_c"])
@torch.no_grad()
def test_the_structure_has_the_dtype_and_device_of_the_module(name):
    options = {"dynamic_img_size": True} if name == "test_vit" else {}
    make = dla.create_model if name == "dla46_c" else timm.create_model
    model = dla.aggregate(make(name, **options).to(torch.float64), out_channels=8).eval()
    assert model(torch.randn(1, 3, 70, 97, dtype=torch.float64)).dtype == torch.float64
    assert {p.device.type for p in dla.aggregate(make(name, **options).to("meta")).parameters()} == {"meta"}


@pytest.mark.skipif(
    "dtype" not in signature(timm.models.VisionTransformer).parameters, reason="timm does not make models of a dtype"
)
def test_the_head_has_the_dtype_of_a_backbone_by_name():
    options = {"backbone_options": {"dtype": torch.float64}, "num_classes": 3, "out_channels": 8}
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for head in ("dense", "classifier"):
        assert dla.create_model("test_vit+ida", head=head, **options)(images).dtype == torch.float64


@torch.no_grad()
def test_one_channel_in():
    assert build("test_resnet", in_chans=1).eval()(torch.randn(1, 1, 64, 64)).shape[1] == 16
    assert build("dla46_c", in_chans=1).eval()(torch.randn(1, 1, 64, 64)).shape[1] == 16


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_resnet+ida", {"num_classes": 3, "out_stride": 4, "out_channels": 8, "drop_path_rate": 0.0}),
        ("test_vit+unet", {"num_classes": 3, "out_channels": 8, "drop_path_rate": 0.1}),
        ("dla46_c+fpn", {"num_classes": 3, "in_chans": 1, "out_indices": [2, 4], "output_stride": None}),
        ("dla46_c+dla_up", {"num_classes": 3, "out_channels": 8, "norm_layer": "groupnorm"}),
        ("test_convnext+dla_up", {"head": "classifier", "num_classes": 3, "out_channels": 8, "drop_rate": 0.1}),
        ("dla46_c+ida", {"head": "classifier", "num_classes": 0, "out_channels": 8, "output_stride": 16}),
    ],
)
@torch.no_grad()
def test_a_network_is_rebuilt_from_its_name_and_plain_options(name, options):
    first = disturb(dla.create_model(name, **options))
    again = dla.create_model(name, **json.loads(json.dumps(options))).eval()
    again.load_state_dict(first.state_dict())
    x = torch.randn(2, options.get("in_chans", 3), 70, 97)
    out = first(x)
    dense = options.get("head") != "classifier"
    assert out.shape == (2, 3, 70, 97) if dense else (2, options["num_classes"] or 8)
    torch.testing.assert_close(again(x), out)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ["dla46_c", "resnet18", "convnext_atto", "regnetx_002", "efficientnet_b0"])
@torch.no_grad()
def test_a_backbone_that_can_dilate_does(name, output_stride):
    model = dla.create_model(f"{name}+ida", num_classes=3, out_channels=8, output_stride=output_stride).eval()
    plain = dla.create_model(f"{name}+ida", num_classes=3, out_channels=8)
    strides = [spec.stride for spec in plain.backbone.feature_specs]
    assert [spec.stride for spec in model.backbone.feature_specs] == [min(s, output_stride) for s in strides]
    assert model(torch.randn(1, 3, 70, 97)).shape == (1, 3, 70, 97)
    model.backbone.load_state_dict(plain.backbone.state_dict())


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize(
    ("name", "stride", "said"),
    [
        ("resnet10t+ida", 7, r"^timm's resnet10t cannot have output_stride=7: give 8, 16 or 32, .* leave it out$"),
        ("timm/dla34", 16, r"^timm's dla34 cannot have output_stride=16: give 8, 16 or 32, .* leave it out$"),
        ("cspnext_s+ida", 7, r"^output_stride must be one of \(8, 16, 32\), got 7$"),  # timm's own words
    ],
)
def test_an_output_stride_that_a_backbone_cannot_have_is_named(name, stride, said, pretrained):
    with pytest.raises(ValueError, match=said):
        dla.create_model(name, pretrained=pretrained, output_stride=stride)


def test_a_drop_path_rate_reaches_the_backbone():
    model = dla.create_model("convnext_atto+ida", num_classes=3, out_channels=8, drop_path_rate=0.5)
    rates = [part.drop_prob for part in model.backbone.modules() if type(part).__name__ == "DropPath"]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.5)


def test_names_take_the_conventions_of_the_others():
    dense = dla.create_model("test_resnet+ida", out_channels=8)
    assert isinstance(dense, DensePredictor)
    assert dense.num_classes == 19
    assert dense.pretrained_cfg["mean"] == list(timm.create_model("test_resnet").pretrained_cfg["mean"])
    classifier = dla.create_model("test_resnet+ida", head="classifier")
    assert isinstance(classifier, AggregatedClassifier)
    assert classifier.num_classes == 1000
    classifier.reset_classifier(5, "max")
    assert classifier.get_classifier().weight.shape == (5, 64)
    assert "Max" in str(classifier.head.global_pool)
    x = torch.randn(2, 3, 64, 64)
    classifier.eval()
    torch.testing.assert_close(classifier.forward_head(classifier.forward_features(x)), classifier(x))
    assert classifier.forward_head(classifier.forward_features(x), pre_logits=True).shape == (2, 64)


@pytest.mark.parametrize("stride", [2, 3, 4, 7])
@torch.no_grad()
def test_a_head_upsamples_by_odd_strides_too(stride):
    """Strides of 7 come from patches of 14 pixels; inside the border it is plain bilinear interpolation."""
    x = torch.randn(1, 2, 6, 7)
    given = FixedUpsample(stride)(x, (6 * stride, 7 * stride))
    expected = nn.functional.interpolate(x, scale_factor=stride, mode="bilinear")
    inside = (..., slice(stride, -stride), slice(stride, -stride))
    torch.testing.assert_close(given[inside], expected[inside])


@pytest.mark.parametrize("name", ["test_resnet+ida", "test_vit+fpn", "dla46_c+unet"])
def test_weights_of_the_whole_network_load_strictly(name):
    first, second = (dla.create_model(name, num_classes=3, out_channels=8) for _ in range(2))
    state = first.state_dict()
    dla.load_weights(second, state)
    assert all(torch.equal(value, state[key]) for key, value in second.state_dict().items())
    state.pop("head.classify.bias")
    with pytest.raises(WeightsError, match=r"head\.classify\.bias"):
        dla.load_weights(second, state)


def test_weights_of_a_classifier_load_into_the_backbone():
    classifier = dla.create_model("dla46_c")
    model = dla.create_model("dla46_c+ida", num_classes=3)
    dla.load_weights(model, classifier.state_dict())
    torch.testing.assert_close(model.backbone.body.stem[0][0].weight, classifier.stem[0][0].weight)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dla.aggregate("dla43"), ValueError, "unknown backbone 'dla43'; near it .*dla34"),
        (lambda: dla.aggregate("dla34_centernet"), ValueError, "is no backbone: give the one within, dla34$"),
        (lambda: dla.aggregate("dla46_cup"), ValueError, "is no backbone: give the one within, dla46_c$"),
        (lambda: dla.create_model("convnext_tny+ida"), ValueError, "near it timm has convnext_tiny"),
        (lambda: dla.create_model("test_resnet+iad"), ValueError, "one of ida, dla_up, fcn, fpn, unet, not 'iad'"),
        (lambda: dla.aggregate("test_resnet", out_stride=3), ValueError, "over a power of two, not 3"),
        (lambda: dla.aggregate("test_resnet", out_stride=32), ValueError, r"strides \[32\], and fusing needs at least"),
        (lambda: dla.aggregate("test_resnet", out_stride=64), ValueError, "none is chosen"),
        (lambda: dla.aggregate("test_resnet", out_channels=0), ValueError, "out_channels must be .* at least 1, not 0"),
        (lambda: dla.aggregate("test_resnet", out_stride=0), ValueError, "out_stride must be a whole .* not 0"),
        (lambda: dla.aggregate("test_resnet", out_indices=()), ValueError, "none is chosen: name some in out_indices"),
        (
            lambda: dla.aggregate(timm.create_model("test_resnet"), in_chans=4),
            ValueError,
            "with in_chans=4 channels .* it must be made for so many channels",
        ),
        (lambda: dla.aggregate("test_resnet", out_indices=[7]), ValueError, "5 feature maps"),
        (lambda: dla.aggregate(nn.DataParallel(Moments())), ValueError, "shares a module out: give the one within"),
        (lambda: dla.aggregate(nn.Sequential(nn.Conv3d(1, 4, 3, 2, 1)), in_chans=1), ValueError, r"where a map \(1"),
        (lambda: dla.aggregate("test_resnet", backbone_options={"planes": 3}), TypeError, "planes"),
        (lambda: dla.aggregate(Moments(), pretrained=True), ValueError, "for a backbone's name"),
        (lambda: dla.create_model("test_resnet+ida", head="mask"), ValueError, "'dense' or 'classifier', not 'mask'"),
        (lambda: dla.create_model("test_resnet+ida", drop_rate=0.5), ValueError, "drop_rate are of a classifier"),
        (lambda: dla.create_model("test_resnet+ida", global_pool="max"), ValueError, "give head='classifier'"),
        (lambda: dla.create_model("test_resnet+ida", drop_path_rate=-0.5), ValueError, r"a chance, .*, not -0\.5"),
        (lambda: dla.create_model("test_resnet+ida", num_classes=0), ValueError, "at least 1, not 0"),
        (
            lambda: dla.create_model("test_resnet+ida", planes=3),
            TypeError,
            "ida has no option planes; it has: backbone_",
        ),
        (lambda: dla.create_model("test_resnet+ida", structure="fpn"), TypeError, "ida has no option structure"),
        (lambda: dla.create_model("densenet121+ida", drop_path_rate=0.1), TypeError, "drop_path_rate"),
        (lambda: dla.create_model("test_vit+ida", output_stride=8), TypeError, "output_stride"),
        (lambda: dla.create_model("test_resnet+ida", features_only=True), ValueError, "for a classifier, test_resnet"),
    ],
)
def test_bad_names_and_options_are_told(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("indices", [["layer1"], [1.0, 2.0]])
def test_indices_are_whole_numbers(indices):
    with pytest.raises(ValueError, match=rf"out_indices is {re.escape(str(indices))}; expected whole numbers"):
        dla.aggregate("test_resnet", out_indices=indices)


@pytest.mark.usefixtures("unchecked_shapes")  # nor types
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_channels": 8.5}, r"out_channels must be a whole number of at least 1, not 8\.5"),
        ({"out_stride": 4.0}, r"out_stride must be a whole number of at least 1, not 4\.0"),
        ({"out_indices": "12"}, "out_indices is '12'; expected a number of feature maps"),
    ],
)
def test_values_of_other_types_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        dla.aggregate("test_resnet", **options)


def test_the_command_describes_a_backbone(capsys):
    assert main(["aggregate", "test_resnet", "--out-stride", "4", "--size", "64"]) == 0
    out = capsys.readouterr().out
    assert "maps of 32 at 4, 48 at 8, 192 at 16, 96 at 32 (channels at stride)" in out
    assert all(f"+{structure} " in out for structure in DECODERS)
    decoder = dla.aggregate("test_resnet", structure="unet", out_stride=4).decoder
    assert f"{sum(p.numel() for p in decoder.parameters()):,} parameters" in out
    assert main(["aggregate", "test_resnet", "--structure", "fpn", "--size", "64"]) == 0
    assert "+ida" not in capsys.readouterr().out


def test_the_command_tries_a_backbone(capsys, monkeypatch):
    for name in ("export", "compile"):  # they have tests of their own
        monkeypatch.delitem(dla.models.tried.CHECKS, name)
    assert main(["aggregate", "test_resnet", "--list"]) == 0
    assert "| test_resnet | 2, 4, 8, 16, 32 |" in (out := capsys.readouterr().out)
    assert out.rstrip().endswith("| yes | yes | yes |")
    assert main(["aggregate", "hiera_tiny_224", "--list"]) == 0
    assert "ValueError: the backbone fails on images of 64 x 96" in capsys.readouterr().out


def test_the_command_tells_of_bad_names(capsys):
    assert main(["aggregate", "resnet81"]) == 2
    assert "near it timm has resnet18" in capsys.readouterr().err
    assert main(["aggregate"]) == 2
    assert "name a backbone, or give --list" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--size=0", "--size=-5", "--out-stride=0", "--out-channels=1.5"])
def test_the_command_takes_whole_numbers_alone(capsys, option):
    with pytest.raises(SystemExit) as stopped:
        main(["aggregate", "test_resnet", option])
    assert stopped.value.code == 2
    assert f"{option.partition('=')[2]}' is not a positive whole number" in capsys.readouterr().err


def test_the_command_tells_of_a_size_that_a_backbone_does_not_take(capsys):
    assert main(["aggregate", "pvt_v2_b0", "--size", "3"]) == 2
    assert "Kernel size can't be greater" in capsys.readouterr().err


def test_one_backbone_of_each_family_is_tried():
    assert {timm.is_model(name) for name in FAMILIES.values()} == {True}
    assert isinstance(dla.aggregate("test_resnet"), Aggregated)
