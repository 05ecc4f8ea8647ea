"""Any network as a list of maps: what is found out about it is true, and finding it out leaves it as it was."""

import copy

import numpy as np
import pytest
import timm
import torch
import torchvision
from disturbed import disturb
from timm.layers import Conv2dSame
from torch import nn

import dla
from dla.backbones import FeatureSpec, Maps, SimplePyramid, adapt, check_specs, timm_model
from dla.weights import WeightsError


class Pooling(nn.Module):
    """Maps of given strides and channels, by mean pooling and repetition; sizes round up, or down with `floor`."""

    def __init__(self, strides, channels=6, *, floor=False, last=False, form=list):
        super().__init__()
        self.strides, self.channels, self.floor, self.last, self.form = strides, channels, floor, last, form

    def forward(self, x):
        pooled = [
            nn.functional.avg_pool2d(x, s, ceil_mode=not self.floor, count_include_pad=False) for s in self.strides
        ]
        maps = [m.repeat(1, self.channels // 3, 1, 1) for m in pooled]
        maps = [m.permute(0, 2, 3, 1) if self.last else m for m in maps]
        return {str(i): m for i, m in enumerate(maps)} if self.form is dict else self.form(maps)


@pytest.mark.parametrize("form", [list, tuple, dict])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("floor", [False, True])
def test_lists_tuples_and_dictionaries_of_maps(form, last, floor):
    maps = Maps(Pooling([2, 8, 32], floor=floor, last=last, form=form))
    assert maps.feature_specs == [(6, 2), (6, 8), (6, 32)]
    assert maps.multiple == (32 if floor else 1)
    given = maps(torch.randn(2, 3, 70, 97))
    assert [tuple(m.shape) for m in given] == [(2, 6, 35, 49), (2, 6, 9, 13), (2, 6, 3, 4)]


def test_padding_adds_at_the_bottom_and_right_and_is_cropped():
    x = torch.randn(1, 3, 70, 97)
    padded = nn.functional.pad(x, (0, 31, 0, 26))
    fine, coarse = Maps(Pooling([2, 32], floor=True))(x)
    torch.testing.assert_close(fine[:, :3], nn.functional.avg_pool2d(padded, 2)[..., :35, :49])
    torch.testing.assert_close(coarse[:, :3], nn.functional.avg_pool2d(padded, 32))


class Sampled(nn.Module):
    """Every 2nd, 4th and 8th pixel, picked by strided convolutions that pad as TensorFlow does."""

    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList(Conv2dSame(3, 3, 3, stride=2, groups=3, bias=False) for _ in range(3))
        for step in self.steps:
            nn.init.zeros_(step.weight)[:, :, 1, 1] = 1

    def forward(self, x):
        return [x := step(x) for step in self.steps]


@pytest.mark.parametrize(("height", "width"), [(69, 96), (65, 90), (64, 64)])
@torch.no_grad()
def test_maps_lie_where_they_do_in_images_of_other_sizes(height, width):
    maps = Maps(Sampled())
    x = torch.randn(1, 3, 70, 97)
    for part, whole in zip(maps(x[..., :height, :width]), maps(x), strict=True):
        inner = part[..., :-1, :-1]  # the last row and column may see what lies beyond
        assert torch.equal(inner, whole[..., : inner.shape[2], : inner.shape[3]])


def test_some_of_the_maps():
    assert Maps(Pooling([2, 4, 8]), out_indices=[0, -1]).feature_specs == [(6, 2), (6, 8)]
    assert Maps(Pooling([2, 4, 8]), out_indices=2).feature_specs == [(6, 4), (6, 8)]
    for maps in (Maps(Pooling([2, 4, 8]), finest=4), adapt(Pooling([2, 4, 8]), out_stride=4)):
        assert maps.feature_specs == [(6, 4), (6, 8)]


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_number_of_numpy_is_a_number():
    assert Maps(Pooling([2, 4, 8]), out_indices=np.int64(2)).feature_specs == [(6, 4), (6, 8)]


@pytest.mark.parametrize("strides", [[3, 6, 12], [17, 34], [7, 14, 28], [9, 18], [10, 20, 40], [15, 30]])
def test_other_strides_than_powers_of_two(strides):
    maps = Maps(Pooling(strides))
    assert [spec.stride for spec in maps.feature_specs] == strides
    assert [tuple(m.shape[2:]) for m in maps(torch.randn(1, 3, 70, 97))] == [
        (-(-70 // s), -(-97 // s)) for s in strides
    ]


def test_strides_that_small_images_do_not_tell_from_others():
    """Rounded down, maps of an image of 64 x 96 pixels are as large as those of the strides 16 and 32."""
    maps = Maps(Pooling([15, 30], floor=True))
    assert [spec.stride for spec in maps.feature_specs] == [15, 30]
    assert maps.multiple == 30


@pytest.mark.parametrize(
    "strides", [[3, 6], [5, 10, 20], [6, 12, 24], [7, 14], [11], [12], [64], [2, 4, 8, 16, 32, 64]]
)
def test_strides_rounded_down_of_any_kind(strides):
    maps = Maps(Pooling(strides, floor=True))
    assert [spec.stride for spec in maps.feature_specs] == strides
    assert [tuple(m.shape[2:]) for m in maps(torch.randn(1, 3, 70, 97))] == [
        (-(-70 // s), -(-97 // s)) for s in strides
    ]


def test_a_map_of_even_sides_needs_twice_its_stride():
    """As in timm's MobileViT, which cuts its maps into patches of 2x2."""

    class Even(nn.Module):
        def forward(self, x):
            coarse = nn.functional.avg_pool2d(x, 16, ceil_mode=True)
            return [Pooling([4])(x)[0], nn.functional.pad(coarse, (0, coarse.shape[3] % 2, 0, coarse.shape[2] % 2))]

    maps = Maps(Even())
    assert (maps.feature_specs, maps.multiple) == ([(6, 4), (3, 16)], 32)
    assert [tuple(m.shape[2:]) for m in maps(torch.randn(1, 3, 70, 97))] == [(18, 25), (5, 7)]


def test_maps_that_do_not_grow_with_the_image_are_refused():
    class Fixed(nn.Module):
        def forward(self, x):
            return [nn.functional.adaptive_avg_pool2d(x, (8, 12))]

    with pytest.raises(
        ValueError,
        match=r"a map of 8 x 12 of an image of 64 x 96 pixels, and a map of 8 x 12 of an image of 64 x \d+ pixels: it",
    ):
        Maps(Fixed())


def test_patches_of_14_pixels_are_found():
    assert Maps(timm_like_patches(14)).feature_specs == [(6, 14)]


def timm_like_patches(patch):
    class Patches(nn.Module):
        def forward(self, x):
            assert x.shape[2] % patch == x.shape[3] % patch == 0, "no whole patches"
            return nn.functional.avg_pool2d(x, patch).repeat(1, 2, 1, 1)

    return Patches()


class Moody(nn.Module):
    """Draws random numbers, counts its runs in a buffer, and has a part that stays in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.BatchNorm2d(3).eval()
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x):
        self.runs += 1
        x = self.frozen(self.norm(x)) + torch.randn(1)
        return [nn.functional.avg_pool2d(x, s, ceil_mode=True) for s in (2, 4)]


def test_finding_out_leaves_no_trace():
    module = Moody()
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    Maps(module)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert (module.training, module.norm.training, module.frozen.training) == (True, True, False)
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "convnext_atto", "pvt_v2_b0"])
@torch.no_grad()
def test_the_maps_are_those_that_timm_gives(name):
    ours = disturb(adapt(timm.create_model(name)))
    theirs = timm.create_model(name, features_only=True).eval()
    keys = dict(zip(sorted(theirs.state_dict()), sorted(theirs.state_dict()), strict=True))
    state = {key.removeprefix("body.model."): value for key, value in ours.state_dict().items()}
    flat = {key.replace("_", "."): value for key, value in state.items()}
    theirs.load_state_dict({key: flat[key.replace("_", ".")] for key in keys})
    x = torch.randn(1, 3, 64, 96)
    for a, b in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(a, b)
    assert [tuple(spec) for spec in ours.feature_specs] == list(
        zip(theirs.feature_info.channels(), theirs.feature_info.reduction(), strict=True)
    )


@torch.no_grad()
def test_maps_with_channels_last_come_as_all_others():
    model = timm_model("swin_tiny_patch4_window7_224", pretrained=False, in_chans=3, options=SMALL_SWIN)
    maps = disturb(adapt(model))
    assert maps.feature_specs == [(24, 4), (48, 8), (96, 16), (192, 32)]
    assert [tuple(m.shape[1:]) for m in maps(torch.randn(1, 3, 70, 97))] == [
        (24, 18, 25),
        (48, 9, 13),
        (96, 5, 7),
        (192, 3, 4),
    ]


SMALL_SWIN = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}


@torch.no_grad()
def test_a_pyramid_is_made_of_one_stride():
    maps = disturb(adapt(timm_model("test_vit", pretrained=False, in_chans=3, options={})))
    assert isinstance(maps, SimplePyramid)
    assert maps.feature_specs == [(16, 4), (32, 8), (64, 16), (64, 32)]
    x = torch.randn(1, 3, 70, 97)
    given = maps(x)
    assert [tuple(m.shape[2:]) for m in given] == [(18, 25), (9, 13), (5, 7), (3, 4)]
    tokens = maps.backbone.body.model.forward_features(nn.functional.pad(x, (0, 15, 0, 10)))
    plain = tokens[:, -35:].transpose(1, 2).unflatten(2, (5, 7))
    torch.testing.assert_close(given[2], plain)
    torch.testing.assert_close(given[3], nn.functional.max_pool2d(plain, 2, ceil_mode=True))


@torch.no_grad()
def test_a_pyramid_of_several_maps_is_made_of_the_last():
    model = timm_model("test_vit", pretrained=False, in_chans=3, options={})
    maps = disturb(adapt(model, out_indices=[1, 3, 5]))
    x = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(SimplePyramid(maps).eval()(x)[2], maps(x)[-1])


@torch.no_grad()
def test_several_maps_of_one_stride_are_fused_as_they_are():
    """Those that are named, where a pyramid would be made of the last alone."""
    torch.manual_seed(0)
    model = dla.aggregate("test_vit", out_indices=[1, 3, 5], out_channels=8).eval()
    assert model.backbone.feature_specs == [(64, 16)] * 3
    x = torch.randn(1, 3, 70, 97)
    maps = model.backbone(x)
    torch.testing.assert_close(model(x), model.decoder(maps, (5, 7))[-1])
    assert len({tuple(m.flatten().tolist()) for m in maps}) == 3


@torch.no_grad()
def test_a_map_is_not_overwritten_by_the_stage_that_reads_it():
    class PreActivated(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.stage = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(8, 16, 3, 2, 1))
            self.last = nn.Conv2d(16, 16, 3, 2, 1)

        def forward(self, x):
            return self.last(nn.functional.relu(self.stage(self.stem(x)), inplace=True)).mean((2, 3))

    x = torch.randn(1, 3, 64, 96)
    for mode in (True, False):
        module = PreActivated()
        maps = adapt(module).train(mode)
        stem = module.stem(x)
        assert stem.min() < 0
        second = module.stage(stem.clone())
        expected = [stem, second, module.last(second.relu())]
        for found, own in zip(maps(x), expected, strict=True):
            torch.testing.assert_close(found, own)


class InPlace(nn.Module):
    """What it does to the first map, tracing may lose."""

    def __init__(self, change):
        super().__init__()
        self.change, self.first, self.second = change, nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)

    def forward(self, x):
        first = self.first(x)
        self.change(first)
        return self.second(first).mean((2, 3))


@pytest.mark.parametrize("change", [torch.relu_, lambda x: x.mul_(3), lambda x: nn.functional.relu(x, inplace=True)])
def test_what_tracing_loses_is_refused(change):
    with pytest.raises(ValueError, match=r"InPlace cannot be taken apart into first, second \(something in it is comp"):
        adapt(InPlace(change))


@torch.no_grad()
def test_what_tracing_keeps_is_taken():
    module, x = InPlace(lambda x: nn.functional.relu(x)), torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(adapt(module)(x)[1], module.second(module.first(x)))


@torch.no_grad()
def test_patches_of_14_pixels_give_strides_7_14_and_28():
    maps = SimplePyramid(Maps(timm_like_patches(14)))
    assert [spec.stride for spec in maps.feature_specs] == [7, 14, 28]
    assert [tuple(m.shape[2:]) for m in maps(torch.randn(1, 3, 70, 97))] == [(10, 14), (5, 7), (3, 4)]


TORCHVISION = {
    "resnet18": ["relu", "layer1", "layer2", "layer3", "layer4"],
    "densenet121": [f"features.{part}" for part in ("relu0", "denseblock1", "denseblock2", "denseblock3", "norm5")],
    "mobilenet_v3_small": ["features.0", "features.1", "features.3", "features.8", "features.12"],
    "regnet_y_400mf": ["stem", *(f"trunk_output.block{i}" for i in (1, 2, 3, 4))],
}


@pytest.mark.parametrize("name", TORCHVISION)
@torch.no_grad()
def test_the_ends_of_torchvisions_stages(name):
    model = disturb(torchvision.models.get_model(name, weights=None))
    x, expected = torch.randn(1, 3, 64, 96), {}
    parts = dict(model.named_modules())
    hooks = [
        parts[part].register_forward_hook(lambda _, __, out, part=part: expected.setdefault(part, out.clone()))
        for part in TORCHVISION[name]
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    maps = adapt(model).eval()
    assert [spec.stride for spec in maps.feature_specs] == [2, 4, 8, 16, 32]
    for given, part in zip(maps(x), TORCHVISION[name], strict=True):
        torch.testing.assert_close(
            given.relu(), expected[part].relu()
        )  # DenseNet's last norm has one in place behind it
    assert not any(key.startswith(("fc", "classifier", "head")) for key in maps.body.state_dict())


class Staged(nn.Module):
    """Stages in a list, whose maps it gives, finest first; or a classifier with the stages in a list of its own."""

    def __init__(self, classes=0):
        super().__init__()
        stages = [nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.ReLU(), nn.Conv2d(o, o, 1)) for i, o in ((3, 4), (4, 8))]
        self.stages = nn.ModuleList(stages)
        self.classify = nn.Linear(8, classes) if classes else None

    def forward(self, x):
        maps = [x := stage(x) for stage in self.stages]
        return self.classify(x.mean((2, 3))) if self.classify else maps


class Headed(nn.Module):
    """A classifier over the last of a backbone's maps."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = Staged(), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.backbone(x)[-1].mean((2, 3)))


@pytest.mark.parametrize("model", [Staged(classes=5), Headed()], ids=["stages in a list", "backbone of a list of maps"])
@torch.no_grad()
def test_stages_that_stand_in_no_sequence(model):
    x, maps = torch.randn(1, 3, 70, 97), adapt(model)
    assert maps.feature_specs == [(4, 2), (8, 4)]
    stages = getattr(model, "backbone", model).stages
    fine = stages[0](x)
    for given, expected in zip(maps(x), (fine, stages[1](fine)), strict=True):
        torch.testing.assert_close(given, expected)


def test_a_classifier_of_ours_as_a_module():
    assert adapt(dla.create_model("dla46_c")).feature_specs == [(32, 2), (64, 4), (64, 8), (128, 16), (256, 32)]


def test_checkpointing_is_in_parts_where_no_batch_is_counted_twice():
    parts = adapt(timm.create_model("test_vit", dynamic_img_size=True))
    parts.set_grad_checkpointing()
    assert parts.backbone.body.model.grad_checkpointing
    parts.set_grad_checkpointing(False)
    assert not parts.backbone.body.model.grad_checkpointing
    for whole in (adapt(timm.create_model("test_resnet")), adapt(timm.create_model("dla46_c")), Maps(Pooling([2, 4]))):
        whole.set_grad_checkpointing()
        assert whole.grad_checkpointing
        assert not getattr(getattr(whole.body, "model", None), "grad_checkpointing", False)
        whole.set_grad_checkpointing(False)
        assert not whole.grad_checkpointing


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ([4], "at least two"),
        ([8, 4], r"strides \[8, 4\]: return them in reverse"),
        ([4, 6], "6 is not 4 times"),
        ([4, 12], "12 is not 4 times"),
    ],
)
def test_maps_that_cannot_be_fused(strides, message):
    with pytest.raises(ValueError, match=message):
        check_specs([FeatureSpec(8, stride) for stride in strides])
    with pytest.raises(ValueError, match=message):
        dla.aggregate(Pooling(strides))


class Fewer(nn.Module):
    """Gives its second map only of some sizes."""

    def forward(self, x):
        maps = Pooling([2, 4])(x)
        return maps if x.shape[-1] == 96 else maps[:1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Maps(nn.Flatten()), r"gives \(1, 18432\) where a map"),
        (lambda: Maps(nn.Linear(7, 7)), "fails on images of 64 x 96 pixels .*mat1"),
        (lambda: Maps(Pooling([4]), in_chans=0), "in_chans=0"),
        (lambda: Maps(Pooling([4, 8]), out_indices=[2]), "2 feature maps"),
        (lambda: Maps(Pooling([4, 8]), out_indices=[]), "none is chosen"),
        (lambda: adapt(timm.create_model("test_resnet"), out_stride=64), "none is chosen"),
        (lambda: Maps(Fewer()), "gives no maps of strides"),
        (lambda: adapt(timm.create_model("hiera_tiny_224")), "dynamic_img_size"),
        (lambda: adapt(torchvision.models.resnet18(), out_indices=[1]), "ResNet have no indices"),
    ],
)
def test_modules_that_are_no_backbones(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("convnext_tny", {}, ValueError, "unknown backbone 'convnext_tny'; near it timm has convnext_tiny"),
        ("resnet18.nowhere", {}, ValueError, "no weights 'resnet18.nowhere'; it has resnet18.a1_in1k"),
        ("test_resnet", {"planes": 3}, TypeError, "planes"),
    ],
)
def test_names_and_options_that_timm_does_not_know(name, options, error, message):
    with pytest.raises(error, match=message):
        timm_model(name, pretrained=False, in_chans=3, options=options)


def test_weights_that_cannot_be_downloaded(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"weights of test_resnet.r160_in1k cannot be had .* pretrained=False"):
        timm_model("test_resnet.r160_in1k", pretrained=True, in_chans=3, options={})
