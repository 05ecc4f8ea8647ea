"""`load_model` builds the network that weights are of: it gives what the network gave whose weights they are."""

import pytest
import timm
import torch
from disturbed import randomise

import dla
from dla.weights import WeightsError


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["ours", "official"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dla46_c", {"num_classes": 7, "in_chans": 1}),
        ("dla46_cup", {"num_classes": 3}),
        ("dla34_centernet", {"heads": {"hm": 3, "wh": 2}, "head_channels": 24}),
        ("dla34_centernet", {"heads": {"hm": 1, "id": 16}, "head_channels": 0, "decoder": "plain"}),
        ("dla34_centernet", {"heads": {"hm": 2}, "decoder": "concat"}),
    ],
)
def test_what_was_saved_comes_back(name, options, layout, tmp_path):
    torch.manual_seed(0)
    theirs = dla.create_model(name, **options).eval()
    randomise(theirs)
    state = theirs.state_dict() if layout == "ours" else dla.export_weights(theirs, "official")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "theirs.pth")
    model, report = dla.load_model(name, tmp_path / "theirs.pth")
    assert not model.training
    assert not report.untouched
    x = torch.randn(1, options.get("in_chans", 3), 70, 65)
    same(model(x), theirs(x))


def test_more_than_ten_images_keep_their_order():
    in_chans = (*[3] * 10, 1, 2)
    state = dla.create_model("dla46_c", num_classes=2, in_chans=in_chans).state_dict()
    model, _ = dla.load_model("dla46_c", dict(sorted(state.items())))  # so has a .safetensors file its names
    assert model.image_channels == in_chans


@torch.no_grad()
def test_weights_of_timm_with_other_classes():
    theirs = timm.create_model("resnet10t", num_classes=5).eval()
    model, _ = dla.load_model("timm/resnet10t", theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    same(model(x), theirs(x))


def test_an_option_that_is_given_wins():
    detector = dla.create_model("dla34_centernet", heads={"hm": 2}, decoder="plain").state_dict()
    with pytest.raises(WeightsError, match=r"heads.hm.2.bias \(2,\) instead of \(9,\)"):
        dla.load_model("dla34_centernet", detector, heads={"hm": 9})


def test_a_detector_saved_without_its_heads_shows_its_decoder():
    without = dla.create_model("dla34_centernet", heads={}, decoder="plain").state_dict()
    model, report = dla.load_model("dla34_centernet", without, heads={})
    assert len(report.mapped) == len(model.state_dict()) == len(without)
    with pytest.raises(WeightsError, match=r"12 missing: heads\.hm\.0\.bias"):
        dla.load_model("dla34_centernet", without)


def test_a_half_trained_network_is_refused(tmp_path):
    torch.save(dla.create_model("dla46_c").state_dict(), tmp_path / "classifier.pth")
    with pytest.raises(WeightsError, match=r"classifier.pth has none of decoder\..* would be half untrained"):
        dla.load_model("dla46_cup", tmp_path / "classifier.pth")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(lambda x: x.numpy(), "is a ndarray and no tensor"), (lambda x: x.flatten(1), r"\(16, 147\) instead of")],
)
def test_a_first_layer_that_is_no_convolution_is_named(spoil, said):
    state = dla.create_model("dla46_c").state_dict()
    with pytest.raises(WeightsError, match=rf"stem.0.0.weight {said}"):
        dla.load_model("dla46_c", {**state, "stem.0.0.weight": spoil(state["stem.0.0.weight"])})


def test_a_file_of_something_else_is_named():
    with pytest.raises(WeightsError, match="the model has none of these names"):
        dla.load_model("dla46_c", {"encoder.weight": torch.zeros(2, 2)})


@torch.no_grad()
def test_a_rewired_network_begins_as_the_weights_are():
    theirs = timm.create_model("test_resnet", num_classes=5).eval()
    model, report = dla.load_model("timm/test_resnet", theirs.state_dict(), rewire="ida")
    assert report.nodes
    x = torch.randn(1, 3, 64, 64)
    same(model(x), theirs(x))
