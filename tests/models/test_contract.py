"""What every network keeps to: any size, any input channels, gradients, timm's conventions, no shared state."""

import subprocess
import sys

import pytest
import timm
import torch

import dla
from dla.models import DLA, IDA, VARIANTS, DLAUp, Features
from dla.models.blocks import basic

SMALL = ["dla34", "dla46_c", "dla60x_c"]
DENSE = [f"{name}{ending}" for name in ("dla34", "dla46_c", "dla46x_c") for ending in ("up", "ida")]


def test_building_one_variant_does_not_change_the_next():
    with torch.device("meta"):
        dla.create_model("dla102x2")
        model = dla.create_model("dla102x")
    groups = {m.groups for m in model.modules() if isinstance(m, torch.nn.Conv2d)}
    assert groups == {1, 32}
    assert sum(p.numel() for p in model.parameters()) == 26_309_272


@pytest.mark.parametrize("name", [*SMALL, *DENSE, "dla60up", "dla102x", "dla169up"])
def test_every_parameter_gets_a_gradient(name):
    model = dla.create_model(name, num_classes=7)
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", VARIANTS)
def test_448_pixels_give_one_row_per_image(name):
    with torch.device("meta"):
        assert dla.create_model(name, num_classes=9).eval()(torch.zeros(2, 3, 448, 448)).shape == (2, 9)


@pytest.mark.parametrize("size", [(70, 65), (33, 47), (64, 64), (1, 1), (31, 100)])
@pytest.mark.parametrize("name", [*SMALL, *DENSE])
@torch.no_grad()
def test_any_size(name, size):
    model = dla.create_model(name, num_classes=4).eval()
    expected = (1, 4) if name in VARIANTS else (1, 4, *size)
    assert model(torch.randn(1, 3, *size)).shape == expected


@pytest.mark.parametrize("out_stride", [2, 4, 8, 16])
@pytest.mark.parametrize("name", ["dla46_cup", "dla46_cida"])
@torch.no_grad()
def test_strides_of_the_decoder(name, out_stride):
    model = dla.create_model(name, num_classes=4, out_stride=out_stride).eval()
    x = torch.randn(1, 3, 70, 65)
    assert model.forward_features(x).shape[-2:] == (-(-70 // out_stride), -(-65 // out_stride))
    assert model(x).shape == (1, 4, 70, 65)


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup"])
@torch.no_grad()
def test_one_channel_in(name):
    assert dla.create_model(name, in_chans=1, num_classes=3).eval()(torch.randn(1, 1, 64, 64)).shape[:2] == (1, 3)


@torch.no_grad()
def test_none_means_the_default_as_in_timm():
    assert dla.create_model("dla46_c", num_classes=None).num_classes == 1000
    assert dla.create_model("dla46_cup", num_classes=None).num_classes == 19


@torch.no_grad()
def test_a_new_head_keeps_the_pooling_unless_told():
    model = dla.create_model("dla46_c", global_pool="max")
    model.reset_classifier(3)
    assert "Max" in str(model.head.global_pool)
    model.reset_classifier(3, "avg")
    assert "Avg" in str(model.head.global_pool)


@torch.no_grad()
def test_no_classes_give_pooled_features():
    model = dla.create_model("dla46_c", num_classes=0).eval()
    x = torch.randn(2, 3, 64, 64)
    assert model(x).shape == (2, 256)
    torch.testing.assert_close(model(x), model.forward_features(x).mean((2, 3)))
    assert dla.create_model("dla46_c", num_classes=0, global_pool="").eval()(x).shape == (2, 256, 2, 2)


@pytest.mark.parametrize("stride", [8, 16])
@torch.no_grad()
def test_output_stride_dilates_and_keeps_the_parameters(stride):
    plain = dla.create_model("dla34")
    dilated = dla.create_model("dla34", output_stride=stride).eval()
    dilated.load_state_dict(plain.state_dict())
    assert dilated.forward_features(torch.randn(1, 3, 70, 65)).shape[-2:] == (-(-70 // stride), -(-65 // stride))
    assert [info["reduction"] for info in dilated.feature_info] == [min(2**i, stride) for i in range(6)]
    assert (
        dla.create_model("dla46_cup", output_stride=stride, num_classes=3).eval()(torch.randn(1, 3, 70, 65)).shape[-1]
        == 65
    )


def test_features_only_drops_what_no_map_needs():
    model = dla.create_model("dla46_c", features_only=True, out_indices=(1, 3))
    maps = model(torch.randn(2, 3, 70, 65))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 35, 33), (64, 9, 9)]
    assert model.feature_info.channels() == [32, 64]
    assert model.feature_info.reduction() == [2, 8]
    sum(m.square().mean() for m in maps).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_feature_maps_carry_timms_names_and_numbers():
    ours, theirs = dla.create_model("dla46_c", features_only=True), timm.create_model("dla46_c", features_only=True)
    assert ours.feature_info.channels() == theirs.feature_info.channels()
    assert ours.feature_info.reduction() == theirs.feature_info.reduction()


@torch.no_grad()
def test_forward_intermediates_takes_timms_arguments():
    model = dla.create_model("dla46_c").eval()
    x = torch.randn(1, 3, 64, 64)
    last, maps = model.forward_intermediates(x, indices=2)
    assert [m.shape[1] for m in maps] == [128, 256]
    torch.testing.assert_close(last, maps[-1])
    torch.testing.assert_close(model.forward_head(last), model(x))
    assert model.forward_intermediates(x, [-1], intermediates_only=True)[0].shape == last.shape
    early, maps = model.forward_intermediates(x, [0, 2], stop_early=True)
    assert early is maps[-1]
    with pytest.raises(ValueError, match="6 feature maps"):
        model.forward_intermediates(x, [6])
    with pytest.raises(ValueError, match="NCHW"):
        model.forward_intermediates(x, output_fmt="NLC")


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup"])
@torch.no_grad()
def test_reset_classifier(name):
    model = dla.create_model(name).eval()
    model.double().reset_classifier(3)
    assert model.num_classes == 3
    assert model(torch.randn(1, 3, 64, 64, dtype=torch.float64)).shape[1] == 3
    assert 3 in model.get_classifier().weight.shape


def test_a_head_that_is_refused_leaves_the_old_one():
    model = dla.create_model("dla46_c", num_classes=5)
    before = (model.num_classes, model.global_pool, model.head)
    with pytest.raises(ValueError, match="global_pool"):
        model.reset_classifier(10, "")
    assert (model.num_classes, model.global_pool, model.head) == before


@pytest.mark.parametrize("training", [True, False])
def test_a_new_head_is_in_the_networks_mode(training):
    model = dla.create_model("dla46_c", drop_rate=0.5).train(training)
    model.reset_classifier(3)
    assert model.head.drop.training is training


@pytest.mark.parametrize("name", ["dla46_c.cifar10", "dla46_cup.camvid"])
def test_a_new_head_has_none_of_the_old_classes(name):
    model = dla.create_model(name, pretrained=True)
    facts = dict(model.pretrained_cfg)
    model.reset_classifier(model.num_classes)
    assert model.pretrained_cfg == facts
    model.reset_classifier(3)
    gone = {"num_classes", "classes", "colors"} & facts.keys()
    assert {"num_classes", "classes"} <= gone
    assert model.pretrained_cfg == {key: fact for key, fact in facts.items() if key not in gone}


@torch.no_grad()
def test_packaged_weights_without_head_and_pooling():
    model = dla.create_model("dla46_c.cifar10", pretrained=True, num_classes=0, global_pool="").eval()
    whole, x = dla.create_model("dla46_c.cifar10", pretrained=True).eval(), torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(model(x), whole.forward_features(x))


@torch.no_grad()
def test_the_maps_of_a_network_are_fused_as_the_network(tmp_path):
    torch.manual_seed(0)
    classifier, x = dla.create_model("dla46_c", num_classes=3), torch.randn(2, 3, 70, 65)
    maps = dla.create_model("dla46_c", features_only=True, out_indices=[2, 3, 5])
    maps.pretrained_cfg = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2], "url": "x"}
    fused = dla.aggregate(maps).eval()
    assert fused.pretrained_cfg == {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2]}
    assert [spec.stride for spec in fused.backbone.feature_specs] == [4, 8, 32]
    dla.load_weights(fused.backbone, classifier.state_dict())
    found = fused.backbone(x)
    for mine, theirs in zip(found, classifier.eval().forward_intermediates(x, [2, 3, 5])[1], strict=True):
        torch.testing.assert_close(mine, theirs)
    pruned = dla.create_model("dla46_c")
    pruned.prune_intermediate_layers([3])
    assert dla.aggregate(pruned).eval()(x).shape[-2:] == (35, 33)


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup", "dla46_cida"])
def test_convolutions_start_as_those_of_the_authors(name):
    """From N(0, 2 / (k k out)); the convolution that gives scores starts as PyTorch has it."""
    torch.manual_seed(0)
    for path, conv in dla.create_model(name).named_modules():
        if isinstance(conv, torch.nn.Conv2d) and not path.startswith("head."):
            expected = (2 / (conv.out_channels * conv.weight[0, 0].numel())) ** 0.5
            uncertain = 5 / (2 * conv.weight.numel()) ** 0.5  # five standard deviations of that of a sample
            assert conv.weight.std().item() == pytest.approx(expected, rel=uncertain), path


def test_drop_path_rises_to_its_rate_and_acts_in_training_alone():
    model = dla.create_model("dla46_c", drop_path_rate=0.5)
    rates = [m.p for m in model.modules() if type(m).__name__ == "StochasticDepth"]
    assert rates == sorted(rates)
    assert rates[-1] == 0.5
    x = torch.randn(2, 3, 64, 64)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup", "dla46_cida"])
@torch.no_grad()
def test_exports(name):
    model = dla.create_model(name, num_classes=3).eval()
    x = torch.randn(1, 3, 70, 65)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


@torch.no_grad()
def test_a_classifier_exports_with_any_batch_and_size():
    model = dla.create_model("dla46_c", num_classes=3).eval()
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    exported = torch.export.export(model, (torch.randn(2, 3, 70, 65),), dynamic_shapes=(sizes,)).module()
    x = torch.randn(3, 3, 97, 128)
    torch.testing.assert_close(exported(x), model(x))


def test_names():
    assert len(dla.list_models()) == 40
    assert dla.list_models("dla46*_centernet") == ["dla46_c_centernet", "dla46x_c_centernet"]
    assert dla.list_models("dla34.*", pretrained=True) == ["dla34.in1k"]
    assert dla.list_models("dla60*up") == ["dla60x_cup", "dla60up", "dla60xup"]
    assert dla.list_models("dla46*ida") == ["dla46_cida", "dla46x_cida"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dla.create_model("dla35"), ValueError, "unknown model 'dla35'; .*; did you mean dla34 or "),
        (
            lambda: dla.create_model(torch.nn.ReLU()),
            TypeError,
            "the name of a network, not ReLU; modules go to dla.agg",
        ),
        (lambda: dla.create_model("resnet50"), ValueError, "is timm's: timm/resnet50 classifies, resnet50.ida gives"),
        (
            lambda: dla.create_model("dla34", drop_path_rate=2.0),
            ValueError,
            "drop_path_rate must be .* not 2.0",
        ),
        (lambda: dla.create_model("dla34", drop_path_rate=-0.1), ValueError, "at least 0 and below 1, not -0.1"),
        (lambda: dla.create_model("dla34", in_chans=0), ValueError, "in_chans must be at least 1, not 0"),
        (lambda: dla.create_model("dla34", width=float("nan")), ValueError, "width must be a positive number, not nan"),
        (lambda: dla.create_model("dla34", width=0.0), ValueError, "width must be a positive number, not 0.0"),
        (lambda: dla.create_model("dla60x", width=0.3), ValueError, "a split block has a multiple of 32 channels"),
        (lambda: dla.create_model("dla34.nowhere"), ValueError, "no weights named 'dla34.nowhere'"),
        (
            lambda: dla.create_model("dla60up", pretrained=True),
            ValueError,
            r"dla60up has no weights by itself: name .*load_weights\(model, 'timm/dla60.in1k'\)$",
        ),
        (
            lambda: dla.create_model("dla34", planes=3),
            TypeError,
            "dla34 has no option planes; it has: .*stem_s.*, width",
        ),
        (lambda: dla.create_model("dla34", residual=True), TypeError, "dla34 has no option residual"),
        (
            lambda: dla.create_model("dla34ida", width=0.5),
            TypeError,
            "dla34ida has no option width; it has: drop_path_",
        ),
        (
            lambda: dla.create_model("dla34_centernet", num_classes=2),
            TypeError,
            "dla34_centernet has no option num_classes; it has: decoder, ",
        ),
        (lambda: dla.create_model("dla34", num_classes=-1), ValueError, "num_classes must be at least 0, not -1"),
        (lambda: dla.create_model("dla34up").reset_classifier(0), ValueError, "at least 1, not 0"),
        (lambda: dla.create_model("dla34up", features_only=True), ValueError, "is for a classifier, dla34"),
        (
            lambda: dla.create_model("dla34up", out_stride=3),
            ValueError,
            "2, 4, 8 or 16 and at most output_stride, not 3",
        ),
        (lambda: dla.create_model("dla34", output_stride=4), ValueError, "8, 16 or 32, not 4"),
        (lambda: dla.create_model("dla34", global_pool=""), ValueError, "needs pooled features"),
        (lambda: dla.create_model("dla34", num_classes="10"), ValueError, "num_classes is '10'; expected a whole"),
        (lambda: dla.create_model("dla34", out_indices=[1]), ValueError, "features_only=True"),
        (lambda: dla.create_model("dla34", features_only=True, out_indices=[]), ValueError, "empty"),
        (lambda: dla.create_model("dla34", features_only=True, out_indices=0), ValueError, "6 feature maps: 0 is"),
        (lambda: dla.create_model("dla34up", num_classes=0), ValueError, "at least 1, not 0"),
        (lambda: dla.create_model("dla34up", output_stride=8, out_stride=16), ValueError, "at most output_stride"),
    ],
)
def test_bad_names_and_options_are_told(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_lists_that_are_passed_stay_as_they_are():
    channels, depths = [8, 8, 16, 16, 32, 32], [1, 1, 2, 1]
    network = DLA(basic, depths, channels, num_classes=0)
    specs = Features(network, [1, 2, 3, 4, 5]).feature_specs
    before = list(specs)
    DLAUp(specs)
    IDA(specs, out_stride=2)
    assert specs == before
    assert (channels, depths) == ([8, 8, 16, 16, 32, 32], [1, 1, 2, 1])


@pytest.mark.parametrize("name", dla.list_models())
def test_all_forty_run_at_an_odd_size(name):
    detects = name.endswith("_centernet")
    with torch.device("meta"):
        model = dla.create_model(name, **({"heads": {"hm": 3}} if detects else {"num_classes": 3}))
        out = model.eval()(torch.zeros(1, 3, 70, 65))
    shape = (1, 3) if name in VARIANTS else (1, 3, 18, 17) if detects else (1, 3, 70, 65)
    assert (out["hm"] if detects else out).shape == shape


@pytest.mark.slow
def test_each_kind_compiles_to_one_graph():
    """In a process of its own: here, the run-time checks of shapes stand in the compiler's way."""
    program = """
import dla, torch
x = torch.randn(2, 3, 70, 65)
for name in ("dla46_c", "dla46_cup", "dla46_cida"):
    model = dla.create_model(name, num_classes=3).eval()
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(x), model(x))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["dla46_cup", "dla46_cida", "dla34_centernet", "test_resnet+fpn"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_decoder_is_called_so_that_hooks_and_wrappers_of_it_work(name, checkpointing):
    model, seen = dla.create_model(name), []
    model.set_grad_checkpointing(checkpointing)
    for module in (model.decoder, getattr(model.decoder, "up", model.decoder)):
        module.register_forward_hook(lambda module, inputs, steps: seen.append(len(steps)))
    model(torch.randn(2, 3, 64, 64))
    assert seen[-1] == len(model.step_specs)
    assert len(seen) == 2
