"""Networks for small images: the same table and weights, but for the stem, at a quarter or half of the strides."""

import pytest
import torch
from torch import nn

import dla

STRIDES = {1: [1, 1, 1, 2, 4, 8], 2: [1, 1, 2, 4, 8, 16], 4: [1, 2, 4, 8, 16, 32]}


@pytest.mark.parametrize("name", ["dla34", "dla46_c", "dla60x_c"])
@pytest.mark.parametrize("stem_stride", STRIDES)
def test_maps_have_the_strides_that_the_network_says(name, stem_stride):
    model = dla.create_model(name, features_only=True, out_indices=range(6), stem_stride=stem_stride).eval()
    assert [spec.stride for spec in model.feature_specs] == STRIDES[stem_stride]
    with torch.no_grad():
        maps = model(torch.randn(1, 3, 33, 30))
    expected = [(-(-33 // stride), -(-30 // stride)) for stride in STRIDES[stem_stride]]
    assert [tuple(x.shape[2:]) for x in maps] == expected


@pytest.mark.parametrize("name", dla.list_models("dla*[0-9cx2]"))
def test_only_the_stem_differs(name):
    with torch.device("meta"):
        usual, small = dla.create_model(name), dla.create_model(name, stem_stride=1)
    a, b = ({key: tuple(value.shape) for key, value in model.state_dict().items()} for model in (usual, small))
    assert {key for key in a if a[key] != b[key]} == {"stem.0.0.weight"}
    assert (a["stem.0.0.weight"][2:], b["stem.0.0.weight"][2:]) == ((7, 7), (3, 3))
    assert a.keys() == b.keys()


def dilations(model: nn.Module) -> list[set[int]]:
    return [{m.dilation[0] for m in stage.modules() if isinstance(m, nn.Conv2d)} for stage in model.stages]


def test_output_stride_dilates_what_the_stem_leaves():
    model = dla.create_model("dla34", stem_stride=2, output_stride=8)
    assert [spec.stride for spec in model.feature_specs] == [1, 1, 2, 4, 8, 8]
    assert dilations(model) == [{1}, {1}, {1}, {1}, {1}, {1, 2}]
    assert dilations(dla.create_model("dla34", stem_stride=1, output_stride=8)) == [{1}] * 6


def test_every_parameter_gets_a_gradient():
    model = dla.create_model("dla46_c", stem_stride=1, num_classes=5)
    nn.functional.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_another_stem_stride_is_refused():
    with pytest.raises(ValueError, match="stem_stride must be 1, 2 or 4, not 3"):
        dla.create_model("dla34", stem_stride=3)


def test_weights_of_the_usual_stem_do_not_fit():
    with pytest.raises(ValueError, match=r"stem\.0\.0\.weight \(16, 3, 7, 7\) instead of \(16, 3, 3, 3\)"):
        dla.load_weights(dla.create_model("dla46_c", stem_stride=1), dla.create_model("dla46_c").state_dict())
