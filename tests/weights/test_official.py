"""The authors' layouts: ten classifiers with layers that nothing uses, and segmentation networks; in and out."""

import pytest
import timm
import torch
import torch.nn.functional as F
from disturbed import randomise
from foreign import (
    CHANNELS,
    NETWORKS,
    base_maps,
    bilinear_weight,
    concat_ida,
    concat_up,
    dead_shapes,
    lines,
    timm_shapes,
    under,
    values,
)

import dla
from dla.weights import WeightsError

KEYS = dict(zip(NETWORKS, (236, 296, 296, 386, 398, 398, 662, 662, 662, 1052), strict=True))


def empty(name, **options):
    """A classifier whose values are yet to be loaded, made in no time."""
    with torch.device("meta"):
        return dla.create_model(name, **options).to_empty(device="cpu").eval()


def segmentation_shapes(name, classes, stride):
    first = stride.bit_length() - 1
    base = {**timm_shapes(name), **dead_shapes(name)}
    channels = CHANNELS[name][first:]
    fc = {"fc.0.weight": (classes, channels[0], 1, 1), "fc.0.bias": (classes,)}
    return {**under("base", base), **concat_up(channels), **fc}


def segmentation(name, classes, stride):
    state = values(segmentation_shapes(name, classes, stride))
    return state | {"up.weight": bilinear_weight(classes, stride)}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ten_classifiers(name):
    shapes = {**timm_shapes(name), **dead_shapes(name)}
    state = {key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}
    unused = {key: value for key, value in state.items() if key in dead_shapes(name)}
    used = {key: value for key, value in state.items() if key not in unused}
    assert len(used) + len(unused) == KEYS[name]
    ours = empty(name)
    report = dla.load_weights(ours, state)
    assert report.layout == "the authors' classifiers"
    assert set(report.ignored) == unused.keys()
    assert len(report.mapped) == len(used)
    loaded = ours.state_dict()
    assert all(loaded[key].flatten()[0] == state[theirs].flatten()[0] for key, theirs in report.mapped.items())
    without = dla.load_weights(ours, used)
    assert (without.layout, without.ignored) == ("timm", ())
    assert without.mapped == report.mapped


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ten_go_back_with_the_unused_layers_invented(name):
    with torch.device("meta"):
        exported = dla.export_weights(dla.create_model(name), "official")
    shapes = {key: tuple(value.shape) for key, value in exported.items()}
    assert shapes == {**timm_shapes(name), **dead_shapes(name)}


@torch.no_grad()
def test_exported_to_timm_gives_timms_output():
    ours = randomise(dla.create_model("dla46x_c", num_classes=5))
    theirs = timm.create_model("dla46x_c", num_classes=5).eval()
    theirs.load_state_dict(dla.export_weights(ours, "timm"))
    x = torch.randn(1, 3, 64, 96)
    expected = theirs(x)
    assert (ours(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pth"])
def test_exported_values_come_back_and_the_invented_do_nothing(tmp_path, file):
    ours = randomise(dla.create_model("dla60x_c", num_classes=5))
    exported = dla.export_weights(ours, "official", tmp_path / file)
    assert exported["fc.weight"].shape == (5, 256, 1, 1)
    assert not exported["level4.tree1.project.0.weight"].any()
    assert exported["level4.project.1.running_var"].eq(1).all()
    for source in (exported, tmp_path / file):
        copy = empty("dla60x_c", num_classes=5)
        dla.load_weights(copy, source)
        assert all(
            torch.equal(a, b) for a, b in zip(ours.state_dict().values(), copy.state_dict().values(), strict=True)
        )


@pytest.mark.parametrize(("name", "stride"), [("dla34", 2), ("dla46_c", 4), ("dla46x_c", 16)])
@torch.no_grad()
def test_segmentation_networks_give_the_authors_output(name, stride):
    state = segmentation(name, 5, stride)
    model = dla.create_model(f"{name}up", num_classes=5, out_stride=stride).eval()
    report = dla.load_weights(model, state)
    assert report.layout == "the authors' segmentation"
    assert set(report.ignored) == {"base.fc.weight", "base.fc.bias", "up.weight", *under("base", dead_shapes(name))}

    x = torch.randn(1, 3, 64, 96)
    fused = lines(base_maps(name, state, x)[stride.bit_length() - 2 :], state, concat_ida)[0]
    logits = F.conv2d(fused, state["fc.0.weight"], state["fc.0.bias"])
    expected = F.conv_transpose2d(logits, state["up.weight"], stride=stride, padding=stride // 2, groups=5)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("stride", [2, 8])
def test_segmentation_networks_go_back(stride):
    model = randomise(dla.create_model("dla34up", num_classes=5, out_stride=stride))
    exported = dla.export_weights(model, "official")
    shapes = {key: tuple(value.shape) for key, value in exported.items()}
    assert shapes == {**segmentation_shapes("dla34", 5, stride), "up.weight": (5, 1, 2 * stride, 2 * stride)}
    torch.testing.assert_close(exported["up.weight"], bilinear_weight(5, stride))
    copy = dla.create_model("dla34up", num_classes=5, out_stride=stride)
    dla.load_weights(copy, exported)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), copy.state_dict().values(), strict=True))


def test_another_upsampling_is_refused():
    state = segmentation("dla46_c", 5, 2)
    with pytest.raises(WeightsError, match=r"up.weight \(5, 1, 4, 4\) is not bilinear interpolation by 2"):
        dla.load_weights(dla.create_model("dla46_cup", num_classes=5), {**state, "up.weight": state["up.weight"] * 1.1})
    with pytest.raises(WeightsError, match=r"up.weight \(\) is not bilinear"):
        dla.load_weights(dla.create_model("dla46_cup", num_classes=5), {**state, "up.weight": 3})
    with pytest.raises(WeightsError, match=r"unknown: dla_up.ida_3.*with its num_classes, in_chans and out_stride"):
        dla.load_weights(dla.create_model("dla46_cup", num_classes=5, out_stride=4), state)


@pytest.mark.parametrize("name", ["test_resnet+ida", "dla46_c+ida"])
def test_a_segmentation_network_is_refused_by_networks_with_another_decoder(name):
    with pytest.raises(WeightsError, match=r"missing: .*unknown: .*layout: the authors' segmentation"):
        dla.load_weights(dla.create_model(name, num_classes=5), segmentation("dla46_c", 5, 2))


def test_a_segmentation_network_fits_the_classifier_that_it_stands_on():
    state = segmentation("dla46_c", 5, 2)
    with pytest.raises(WeightsError, match=r"\(2 of another shape or kind: head.fc.bias \(1000,\) instead of \(5,\)"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), state)
    with pytest.raises(WeightsError, match=r"1 unknown: base.level9.weight"):
        dla.load_weights(dla.create_model("dla46_c"), {**state, "base.level9.weight": torch.zeros(1)})
    base = {key.removeprefix("base."): value for key, value in state.items() if key.startswith("base.")}
    for options, arguments in (({}, {}), ({"num_classes": 5}, {"new_head": True}), ({"features_only": True}, {})):
        model, same = (dla.create_model("dla46_c", **options) for _ in range(2))
        report = dla.load_weights(model, state, **arguments)
        dla.load_weights(same, base, **arguments)
        assert {"dla_up.ida_0.up_1.weight", "fc.0.weight", "up.weight"} <= set(report.ignored)
        kept = set(report.reinitialised)
        assert bool(kept) == bool(arguments)
        ours, theirs = model.state_dict(), same.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys() - kept)


def test_other_classes_take_a_new_head():
    state = segmentation("dla46_c", 5, 2)
    with pytest.raises(WeightsError, match=r"head.classify.weight \(5, 32, 1, 1\) instead of \(7, 32, 1, 1\)"):
        dla.load_weights(dla.create_model("dla46_cup", num_classes=7), state)
    model = dla.create_model("dla46_cup", num_classes=7)
    before = model.head.classify.weight.clone()
    report = dla.load_weights(model, state, new_head=True)
    assert report.reinitialised == ("head.classify.weight", "head.classify.bias")
    assert {"fc.0.weight", "fc.0.bias", "up.weight"} <= set(report.ignored)
    assert torch.equal(model.head.classify.weight, before)


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("dla34ida", "official", "the layout 'official' has no decoder.aggregate.nodes.0.conv"),
        ("dla34up", "timm", "the layout 'timm' has no backbone.body.stages.0.0.0: it is for the ten classifiers$"),
        ("dla34", "keras", "layout must be 'timm' or 'official', not 'keras'"),
    ],
)
def test_what_a_layout_has_no_place_for_is_named(name, layout, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        dla.export_weights(dla.create_model(name), layout)


@pytest.mark.parametrize("structure", ["plain", "iterative", "tree", "reentrant", "merged"])
def test_other_structures_have_no_place_in_a_layout(structure):
    with torch.device("meta"), pytest.raises(ValueError, match=r"has no stages.\d.aggregate.*for the ten classifiers"):
        dla.export_weights(dla.create_model("dla34", structure=structure), "timm")


def test_heads_of_another_network_are_left_out_with_its_upsampling():
    model = dla.create_model("dla34_centernet", decoder="concat", heads={"hm": 3}, head_channels=8)
    report = dla.load_weights(model, segmentation("dla34", 5, 4), new_head=True)
    assert {"fc.0.weight", "up.weight"} <= set(report.ignored)
    assert {key.split(".")[1] for key in report.reinitialised} == {"hm"}


@pytest.mark.parametrize("options", [{"stem_stride": 2}, {"norm_layer": "groupnorm"}, {"width": 0.5}])
@pytest.mark.parametrize("layout", ["timm", "official"])
def test_networks_that_nobody_else_has_are_refused(options, layout):
    with pytest.raises(ValueError, match=f"the layout '{layout}' is of networks with a stem of 7x7"):
        dla.export_weights(dla.create_model("dla46_c", **options), layout)
