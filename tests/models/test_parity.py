"""The networks are timm's where timm has them, and the table's to the last parameter."""

import pytest
import timm
import torch
from disturbed import randomise

import dla
from dla.costs import macs
from dla.models import VARIANTS

PARAMETERS_AND_MACS = {
    "dla34": (15_742_104, 3.060),
    "dla46_c": (1_301_400, 0.574),
    "dla46x_c": (1_068_440, 0.533),
    "dla60x_c": (1_319_832, 0.581),
    "dla60": (22_036_632, 4.236),
    "dla60x": (17_352_344, 3.517),
    "dla102": (33_268_888, 7.165),
    "dla102x": (26_309_272, 5.848),
    "dla102x2": (41_282_200, 9.284),
    "dla169": (53_389_720, 11.558),
}
DEEP = ("dla102", "dla102x", "dla102x2", "dla169")  # their random outputs are huge: compared in float64


def count(module):
    return sum(p.numel() for p in module.parameters())


def timm_pair(name):
    """timm's network with random values, and ours with the same."""
    dtype = torch.float64 if name in DEEP else torch.float32
    torch.manual_seed(0)
    theirs = randomise(timm.create_model(name)).to(dtype)
    ours = dla.create_model(name).to(dtype).eval()
    dla.load_weights(ours, theirs.state_dict())
    return theirs, ours


def assert_relative(ours, theirs):
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_the_table_has_the_ten():
    assert list(VARIANTS) == list(PARAMETERS_AND_MACS)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_and_macs(name):
    with torch.device("meta"):
        model = dla.create_model(name).eval()
    assert (count(model), round(macs(model) / 1e9, 3)) == PARAMETERS_AND_MACS[name]


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_logits_and_feature_maps_equal_timms(name):
    theirs, ours = timm_pair(name)
    x = torch.randn(1, 3, 64, 96).to(next(ours.parameters()))
    assert_relative(ours(x), theirs(x))
    wrapped = timm.create_model(name, features_only=True).to(x.dtype).eval()
    wrapped.load_state_dict(theirs.state_dict(), strict=False)
    maps = ours.forward_intermediates(x, [1, 2, 3, 4, 5], intermediates_only=True)
    reference = wrapped(x)
    assert len(maps) == len(reference) == 5
    for mine, yours in zip(maps, reference, strict=True):
        assert_relative(mine, yours)


@pytest.mark.parametrize("name", ["dla34", "dla60x_c", "dla102x2"])
@torch.no_grad()
def test_weights_go_back_to_timm_unchanged(name):
    theirs, ours = timm_pair(name)
    back = dla.export_weights(ours, "timm")
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize(
    ("name", "parameters"), [("dla34", 2_310_400), ("dla60", 8_968_192), ("dla102", 8_968_192), ("dla169", 8_968_192)]
)
def test_decoder_parameters(name, parameters):
    with torch.device("meta"):
        assert count(dla.create_model(f"{name}up").decoder) == parameters


def test_single_decoder_has_32_channels():
    model = dla.create_model("dla34ida", num_classes=5)
    assert model.decoder.out_channels == 32
    assert len(model.decoder.aggregate.nodes) == 3
    assert model.forward_features(torch.zeros(2, 3, 64, 64)).shape == (2, 32, 32, 32)
