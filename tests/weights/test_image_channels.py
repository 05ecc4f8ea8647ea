"""Weights of red, green and blue in networks for images of one channel or of many."""

import pytest
import timm
import torch

import dla
from dla.weights import WeightsError


@torch.no_grad()
@pytest.mark.parametrize("layout", ["timm", "ours"])
def test_weights_of_colours_see_grey_as_three_equal_channels(state, layout):
    colours, grey = (dla.create_model("dla46_c", num_classes=5, in_chans=channels).eval() for channels in (3, 1))
    dla.load_weights(colours, state)
    given = state if layout == "timm" else colours.state_dict()
    report = dla.load_weights(grey, given)
    x = torch.randn(2, 1, 48, 40)
    torch.testing.assert_close(grey(x), colours(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    assert [report.mapped[name] for name in ["stem.0.0.weight"]] == list(report.adapted)
    assert "1 made for red, green and blue, fitted to the model's channels" in str(report)


@pytest.mark.parametrize("channels", [1, 4, 7])
def test_other_channels_are_fitted_as_timm_does(channels):
    plain = dla.create_model("dla46_c", num_classes=5, in_chans=channels)
    weights = dla.create_model("dla46_c", num_classes=5).state_dict()
    dla.load_weights(plain, weights)
    expected = timm.models.adapt_input_conv(channels, weights["stem.0.0.weight"])
    torch.testing.assert_close(plain.stem[0][0].weight.detach(), expected)


def test_weights_of_grey_do_not_fit_colours():
    weights = dla.create_model("dla46_c", num_classes=5, in_chans=1).state_dict()
    with pytest.raises(WeightsError, match=r"stem.0.0.weight \(16, 1, 7, 7\) instead of \(16, 3, 7, 7\)"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), weights)


def test_named_weights_take_other_channels():
    model = dla.create_model("dla46_c.cifar10", pretrained=True, in_chans=1)
    colours = dla.create_model("dla46_c.cifar10", pretrained=True)
    kernel = colours.stem[0][0].weight.detach().sum(1, keepdim=True)
    torch.testing.assert_close(model.stem[0][0].weight.detach(), kernel)
