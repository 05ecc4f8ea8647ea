"""Other norms by argument, in classifiers and dense predictors alike."""

import pytest
import torch
from torch import nn

import dla
from dla.models.norms import with_norms

NAMES = ["dla46_c", "dla34", "dla46_cup", "dla46_cida"]


def kinds(model):
    """The norms of a model, by type."""
    return {type(m) for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase | nn.GroupNorm)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("norm_layer", "kind"),
    [
        ("batchnorm", nn.BatchNorm2d),
        ("groupnorm", nn.GroupNorm),
        ("syncbatchnorm", nn.SyncBatchNorm),
        (lambda channels: nn.GroupNorm(1, channels), nn.GroupNorm),
    ],
)
def test_every_norm_is_of_the_kind_asked_for(name, norm_layer, kind):
    model = dla.create_model(name, num_classes=3, norm_layer=norm_layer)
    assert kinds(model) == {kind}
    model(torch.randn(2, 3, 65, 70)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup"])
@torch.no_grad()
def test_group_norm_makes_images_independent_in_training(name):
    model = dla.create_model(name, num_classes=3, norm_layer="groupnorm").train()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-4)
    plain = dla.create_model(name, num_classes=3).train()
    assert not torch.allclose(plain(x)[:1], plain(x[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("structure", ["ida", "dla_up", "fpn", "unet"])
@pytest.mark.parametrize("norm_layer", ["groupnorm", "syncbatchnorm", lambda channels: nn.GroupNorm(1, channels)])
def test_an_aggregated_backbone_of_ours_has_them_too(structure, norm_layer):
    model = dla.create_model(f"dla46_c+{structure}", num_classes=3, out_channels=8, norm_layer=norm_layer)
    kind = nn.SyncBatchNorm if norm_layer == "syncbatchnorm" else nn.GroupNorm
    assert kinds(model.backbone) == kinds(model.decoder) == {kind}
    model(torch.randn(2, 3, 65, 70)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("head", ["dense", "classifier"])
def test_timms_backbones_keep_their_norms(head):
    plain, model = (
        dla.create_model("test_resnet+ida", head=head, num_classes=3, norm_layer=norm_layer)
        for norm_layer in (None, "groupnorm")
    )
    assert kinds(model.decoder) == {nn.GroupNorm}
    assert str(model.backbone) == str(plain.backbone)


@pytest.mark.parametrize("name", ["test_resnet", "regnetx_002"])
@torch.no_grad()
def test_timms_batch_norms_are_synchronised_and_compute_the_same(name):
    plain = dla.create_model(f"{name}+ida", num_classes=3)
    plain(torch.randn(4, 3, 64, 64))  # moves the running statistics
    model = dla.create_model(f"{name}+ida", num_classes=3, norm_layer="syncbatchnorm")
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert any(isinstance(m, nn.SyncBatchNorm) for m in model.backbone.modules())
    dla.load_weights(model, plain.state_dict())
    x = torch.randn(1, 3, 65, 70)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x))


def test_the_backbones_own_option_wins():
    model = dla.aggregate("dla46_c", norm_layer="groupnorm", backbone_options={"norm_layer": "batchnorm"})
    assert (kinds(model.backbone), kinds(model.decoder)) == ({nn.BatchNorm2d}, {nn.GroupNorm})
    given = dla.aggregate(dla.create_model("dla46_c"), norm_layer="groupnorm")
    assert (kinds(given.backbone), kinds(given.decoder)) == ({nn.BatchNorm2d}, {nn.GroupNorm})


def test_groups():
    model = dla.create_model("dla34", norm_layer="groupnorm")
    groups = {(m.num_channels, m.num_groups) for m in model.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {(16, 16), (32, 32), (64, 32), (128, 32), (256, 32), (512, 32)}


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup"])
@torch.no_grad()
def test_sync_batch_norm_takes_batch_norms_weights(name):
    model = dla.create_model(name, num_classes=3)
    model(torch.randn(4, 3, 64, 64))  # moves the running statistics
    other = dla.create_model(name, num_classes=3, norm_layer="syncbatchnorm")
    dla.load_weights(other, model.state_dict())
    x = torch.randn(1, 3, 65, 70)
    torch.testing.assert_close(other.eval()(x), model.eval()(x))


def test_a_network_of_ones_own_or_of_others():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.BatchNorm2d(8), nn.LayerNorm(5)), nn.BatchNorm1d(8))
    with_norms(model, lambda channels: nn.InstanceNorm2d(channels, affine=True))
    assert [type(m) for m in model[1]] == [nn.InstanceNorm2d, nn.LayerNorm]
    assert type(model[2]) is nn.BatchNorm1d
    assert model[1][0].num_features == 8


def test_an_unknown_name_is_told():
    with pytest.raises(
        ValueError, match="batchnorm, groupnorm, syncbatchnorm or a function of channels, not 'layernorm'"
    ):
        dla.create_model("dla46_c", norm_layer="layernorm")
    with pytest.raises(ValueError, match="not 'layernorm'"):
        dla.aggregate("test_resnet", structure="fcn", norm_layer="layernorm")
