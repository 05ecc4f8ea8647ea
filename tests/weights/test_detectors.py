"""Checkpoints of CenterNet, FairMOT, mmdetection3d and vis4d, built from their keys, give what their networks give."""

import re

import pytest
import torch
from foreign import (
    base_maps,
    centernet,
    concat_ida,
    concat_up,
    dead_shapes,
    head_shapes,
    lines,
    stem_shapes,
    sum_ida,
    sum_up,
    timm_shapes,
    under,
    values,
)

import dla
from dla.weights import WeightsError

COCO = {"hm": 80, "wh": 2, "reg": 2}
PEOPLE = {"hm": 1, "wh": 4, "id": 128, "reg": 2}
DLA34 = (64, 128, 256, 512)


def checkpoint(heads, decoder, classifier=True, stems=()):
    """A state dict of CenterNet's networks for one decoder; the classifier is there if they started from ImageNet."""
    base = {key: shape for key, shape in timm_shapes("dla34").items() if classifier or not key.startswith("fc.")}
    up = concat_up(DLA34) if decoder == "concat" else sum_up(DLA34, decoder == "deformable")
    base |= {**stem_shapes(stems), **dead_shapes("dla34")}
    shapes = {**under("base", base), **up, **head_shapes(heads, 64)}
    return values(shapes, dtype=torch.float64)


@pytest.mark.parametrize(
    ("heads", "decoder"), [(COCO, "deformable"), (PEOPLE, "deformable"), (PEOPLE, "plain"), (COCO, "concat")]
)
@torch.no_grad()
def test_centernet_and_fairmot(tmp_path, heads, decoder):
    state = checkpoint(heads, decoder)
    wrapped = {"epoch": 140, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(wrapped, tmp_path / "model.pth")
    model = dla.create_model("dla34_centernet", heads=heads, decoder=decoder).double().eval()
    report = dla.load_weights(model, tmp_path / "model.pth")
    assert report.layout == "CenterNet"
    assert set(report.ignored) == {"base.fc.weight", "base.fc.bias", *under("base", dead_shapes("dla34"))}

    x = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    expected = centernet(state, x, heads, concat_ida if decoder == "concat" else sum_ida)
    for name, value in model(x).items():
        torch.testing.assert_close(value, expected[name])


def test_centernet_goes_back():
    state = checkpoint(COCO, "deformable", classifier=False)
    assert len(state) == 398
    model = dla.create_model("dla34_centernet").double()
    dla.load_weights(model, state)
    exported = dla.export_weights(model, "official")
    assert exported.keys() == state.keys()
    used = [key for key in state if key.removeprefix("base.") not in dead_shapes("dla34")]
    assert all(torch.equal(exported[key], state[key]) for key in used)


def test_a_decoder_of_another_kind_is_refused():
    with pytest.raises(WeightsError, match=r"unknown: dla_up.ida_0.node_1.conv.conv_offset_mask.bias"):
        dla.load_weights(dla.create_model("dla34_centernet", decoder="plain"), checkpoint(COCO, "deformable"))
    with pytest.raises(WeightsError, match=r"missing: decoder.final.aggregate.nodes.0.layer.0.conv.bias"):
        dla.load_weights(dla.create_model("dla34_centernet"), {**checkpoint(COCO, "plain")})


@pytest.mark.parametrize(
    ("stems", "in_chans"),
    [(["pre_img_layer", "pre_hm_layer"], (3, 3, 1)), (["pre_img_layer"], (3, 3)), (["pre_hm_layer"], (3, 1))],
)
@torch.no_grad()
def test_centertrack(tmp_path, stems, in_chans):
    heads = {"hm": 1, "reg": 2, "wh": 2, "tracking": 2, "ltrb_amodal": 4}
    state = checkpoint(heads, "deformable", stems=stems)
    state = {key: value.float() for key, value in state.items()}
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "mot17.pth")
    model, report = dla.load_model("dla34_centernet", tmp_path / "mot17.pth")
    assert not report.stems
    assert model.backbone.body.image_channels == in_chans

    x = torch.randn(1, sum(in_chans), 32, 64)
    expected = centernet({k: v.double() for k, v in state.items()}, x.double(), heads, sum_ida)
    for name, value in model.double()(x.double()).items():
        torch.testing.assert_close(value, expected[name])
    exported = dla.export_weights(model.float(), "official")
    assert all(torch.equal(exported[f"base.{key}"], state[f"base.{key}"]) for key in stem_shapes(stems))
    again, _ = dla.load_model("dla34_centernet", dict(reversed(model.state_dict().items())))  # in whatever order
    assert all(torch.equal(value, model(x)[name]) for name, value in again(x).items())


def test_centertracks_weights_need_their_images():
    state = checkpoint(COCO, "deformable", stems=["pre_img_layer", "pre_hm_layer"])
    said = r"base.pre_img_layer.0.weight is of CenterTrack, .* create the network with in_chans=\(3, 3, 1\)"
    for name in ("dla34_centernet", "dla34"):
        with pytest.raises(WeightsError, match=said):
            dla.load_weights(dla.create_model(name), state)
    without = checkpoint(COCO, "deformable", stems=["pre_img_layer"])
    with pytest.raises(WeightsError, match=r"6 missing: backbone.body.beside.1.0.0.weight"):
        dla.load_weights(dla.create_model("dla34_centernet", in_chans=(3, 3, 1)), without)


def test_a_tracker_starts_from_a_detector_or_a_classifier():
    model = dla.create_model("dla34_centernet", in_chans=(3, 3, 1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = checkpoint(COCO, "deformable")
    report = dla.load_weights(model, state)
    assert len(report.stems) == 12
    assert "12 left as built because the weights are of a network of one image: backbone.body.beside.0" in str(report)
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in report.stems)
    assert torch.equal(after["backbone.body.stem.0.0.weight"], state["base.base_layer.0.weight"].float())
    assert len(dla.load_weights(model, dla.create_model("dla34").state_dict()).stems) == 12
    with pytest.raises(WeightsError, match=r"none of backbone.body.beside.0.0.0.weight and others"):
        dla.load_model("dla34_centernet", state, in_chans=(3, 3, 1))


def test_frames_of_which_centertrack_has_no_more_have_no_place_in_its_layout():
    with pytest.raises(ValueError, match=r"the layout 'official' has no backbone.body.beside.1.0.0"):
        dla.export_weights(dla.create_model("dla34_centernet", in_chans=(3, 3, 3)), "official")


def test_other_heads_are_refused_or_left():
    state = checkpoint(PEOPLE, "plain")
    model = dla.create_model("dla34_centernet", decoder="plain", heads={"hm": 80, "dep": 1})
    with pytest.raises(
        WeightsError, match=r"(?s)missing: heads.dep.0.bias.*unknown: id.0.bias.*heads.hm.2.bias \(1,\)"
    ):
        dla.load_weights(model, state)
    report = dla.load_weights(model, state, new_head=True)
    assert {key.split(".")[1] for key in report.reinitialised} == {"hm", "dep"}
    assert {"hm.0.weight", "id.2.bias"} <= set(report.ignored)


def test_named_heads_are_left_and_the_others_loaded():
    state = checkpoint({"hm": 1, "wh": 2, "reg": 2}, "plain")
    model = dla.create_model("dla34_centernet", decoder="plain", heads={"hm": 80, "wh": 2, "dep": 1})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"missing: heads.dep.*unknown: reg\.0.bias"):
        dla.load_weights(model, state, new_head=["hm"])
    report = dla.load_weights(model, state, new_head=["hm", "dep", "reg"])
    assert {key.split(".")[1] for key in report.reinitialised} == {"hm", "dep"}
    assert {"hm.0.weight", "hm.2.bias", "reg.0.weight"} <= set(report.ignored)
    assert "wh.0.weight" not in report.ignored
    loaded = model.state_dict()
    for name in ("hm", "dep"):
        assert torch.equal(loaded[f"heads.{name}.2.weight"], before[f"heads.{name}.2.weight"])
    assert torch.equal(loaded["heads.wh.2.weight"], state["wh.2.weight"].float())
    other = dla.create_model("dla34_centernet", decoder="plain", heads={"hm": 3, "wh": 2, "dep": 1})
    report = dla.load_weights(other, loaded, new_head="hm")  # in our own names
    assert {key.split(".")[1] for key in report.reinitialised} == {"hm"}
    with pytest.raises(ValueError, match="new_head names box, but the heads are dep, hm, reg, wh: name some of these"):
        dla.load_weights(model, state, new_head=["box"])


@torch.no_grad()
def test_a_detector_fits_the_classifier_that_it_stands_on():
    state = checkpoint(COCO, "deformable")
    detector = dla.create_model("dla34_centernet").double().eval()
    dla.load_weights(detector, state)
    features = dla.create_model("dla34", features_only=True).double().eval()
    x = torch.randn(1, 3, 33, 64, dtype=torch.float64)
    expected = detector.backbone(x)
    for given in (state, detector.state_dict(), mmdetection3d(state)):
        for value in features.parameters():
            value.zero_()
        report = dla.load_weights(features, given)
        assert any("hm" in key for key in report.ignored)
        assert all(torch.equal(a, b) for a, b in zip(features(x)[1:], expected, strict=True))
    classifier = dla.create_model("dla34").double()
    dla.load_weights(classifier, state)  # which started from ImageNet's, and still holds their last layer
    assert torch.equal(classifier.head.fc.bias, state["base.fc.bias"])


def mmdetection3d(state):
    """CenterNet's state under mmdetection3d's names: backbone, neck with lists from 0, norm1, ConvModule's bn."""
    renamed = {}
    for key, value in state.items():
        if key.startswith("base."):
            key = re.sub(r"\.bn(\d)\.", r".norm\1.", key).replace(".root.bn.", ".root.norm.")
            key = key.replace("base.", "backbone.", 1)
        else:
            key = re.sub(r"(proj|up|node)_(\d)", lambda m: f"{m[1]}s.{int(m[2]) - 1}", key)
            key = f"neck.{key.replace('actf.0', 'bn').replace('conv_offset_mask', 'conv_offset')}"
        renamed[key] = value
    return renamed


@torch.no_grad()
def test_mmdetection3d():
    state = checkpoint({}, "deformable", classifier=False)
    detector = mmdetection3d(state)
    assert "neck.ida_up.projs.1.conv.conv_offset.weight" in detector
    assert "backbone.level3.tree2.root.norm.weight" in detector
    model = dla.create_model("dla34_centernet", heads={}).double().eval()
    report = dla.load_weights(model, detector)
    assert report.layout == "mmdetection3d"
    assert len(report.ignored) == len(dead_shapes("dla34"))
    same = dla.create_model("dla34_centernet", heads={}).double().eval()
    dla.load_weights(same, state)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), same.state_dict().values(), strict=True))

    backbone = {key.removeprefix("backbone."): value for key, value in detector.items() if key.startswith("backbone.")}
    features = dla.create_model("dla34", features_only=True).double().eval()
    for part in (backbone, {f"backbone.{key}": value for key, value in backbone.items()}):
        assert dla.load_weights(features, part).layout == "mmdetection3d"
    x = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    torch.testing.assert_close(features(x)[1:], model.backbone(x))


def test_mmdetection3d_before_its_neck_had_lists():
    state = checkpoint({}, "deformable", classifier=False)
    lists = mmdetection3d(state)
    early = {re.sub(r"(proj|up|node)s\.(\d)", lambda m: f"{m[1]}_{int(m[2]) + 1}", key): v for key, v in lists.items()}
    assert "neck.ida_up.proj_1.conv.conv_offset.weight" in early
    report, expected = (dla.load_weights(dla.create_model("dla34_centernet", heads={}), s) for s in (early, lists))
    assert report.mapped.keys() == expected.mapped.keys()
    assert all(early[key] is lists[expected.mapped[ours]] for ours, key in report.mapped.items())


def biased(state):
    """The same where plain convolutions with biases took the place of the deformable ones."""
    own = {key: value for key, value in state.items() if re.fullmatch(r"(dla|ida)_up\..*\.conv\.weight", key)}
    return state | {key.replace("weight", "bias"): torch.randn(len(value)).to(value) for key, value in own.items()}


@pytest.mark.parametrize("rename", [dict, lambda state: mmdetection3d(state)])
@torch.no_grad()
def test_biases_before_batch_norm_are_kept_in_its_mean(rename):
    state = biased(checkpoint({}, "plain", classifier=False))
    model = dla.create_model("dla34_centernet", heads={}, decoder="plain").double().eval()
    report = dla.load_weights(model, rename(state))
    assert len(report.subtracted) == 16
    assert "16 biases subtracted from the means of the norms behind them" in str(report)
    x = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    ends = lines(base_maps("dla34", state, x)[1:], state, sum_ida)
    torch.testing.assert_close(model.forward_features(x), sum_ida(ends[:3], state, "ida_up")[-1])


@pytest.mark.parametrize("norm_layer", ["batchnorm", "groupnorm"])
def test_biases_that_no_mean_can_keep_are_unknown(norm_layer):
    state = biased(checkpoint({}, "plain", classifier=False))
    if norm_layer == "batchnorm":
        state["ida_up.proj_1.conv.bias"] = torch.zeros(1)
    else:
        state = {key: value for key, value in state.items() if "running" not in key and "tracked" not in key}
    model = dla.create_model("dla34_centernet", heads={}, decoder="plain", norm_layer=norm_layer)
    with pytest.raises(WeightsError, match=r"unknown: .*conv.bias"):
        dla.load_weights(model, state)


def test_mmdetection3d_with_group_norm():
    state = mmdetection3d(checkpoint({}, "deformable", classifier=False))
    counted = ("running_mean", "running_var", "num_batches_tracked")
    state = {key.replace(".bn.", ".gn."): value for key, value in state.items() if not key.endswith(counted)}
    model = dla.create_model("dla34_centernet", heads={}, norm_layer="groupnorm")
    assert len(dla.load_weights(model, state).mapped) == len(model.state_dict())


def test_a_head_that_we_do_not_have_is_refused_or_left():
    detector = mmdetection3d(checkpoint({}, "plain", classifier=False)) | {
        "bbox_head.cls_convs.0.weight": torch.zeros(1)
    }
    model = dla.create_model("dla34_centernet", heads={"hm": 3}, decoder="plain")
    with pytest.raises(WeightsError, match=r"1 unknown: bbox_head.cls_convs.0.weight"):
        dla.load_weights(model, detector)
    assert "bbox_head.cls_convs.0.weight" in dla.load_weights(model, detector, new_head=True).ignored


@pytest.mark.parametrize(("name", "form"), [("dla34", "bn1"), ("dla46_c", "bn"), ("dla60x_c", "basemodel")])
def test_vis4d(name, form):
    state = values({key: shape for key, shape in timm_shapes(name).items() if not key.startswith("fc.")})
    given = {key.replace("root.bn.", "root.bn1.") if form == "bn1" else key: value for key, value in state.items()}
    if form == "basemodel":
        given = {f"basemodel.{key}": value for key, value in given.items()}
    model, same = (dla.create_model(name, num_classes=0) for _ in range(2))
    report = dla.load_weights(model, given)
    assert report.layout == ("timm" if form == "bn" else "vis4d")
    assert not report.ignored
    dla.load_weights(same, state)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), same.state_dict().values(), strict=True))
    with pytest.raises(WeightsError, match=r"2 missing: head.fc.bias, head.fc.weight"):
        dla.load_weights(dla.create_model(name), given)
