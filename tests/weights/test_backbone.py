"""The weights of a timm classifier in a network that fuses its maps: all that it reads, and nothing unnoticed."""

import pytest
import timm
import torch
from disturbed import randomise
from hub_cache import add_to_cache, take_from_cache_alone

import dla
from dla.weights import WeightsError

NAMES = ["test_efficientnet", "test_resnet", "test_convnext", "test_vit", "regnety_002"]


def classifier(name: str) -> torch.nn.Module:
    torch.manual_seed(1)
    options = {"dynamic_img_size": True} if "vit" in name else {}
    return randomise(timm.create_model(name, num_classes=7, **options)).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"head": "classifier"}])
def test_the_maps_are_those_of_the_classifier(name, options):
    theirs = classifier(name)
    model = dla.create_model(f"{name}+ida", num_classes=3, **options).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = dla.load_weights(model, {f"module.{key}": value for key, value in theirs.state_dict().items()})
    x = torch.randn(1, 3, 160, 160)
    plain = "vit" in name
    found = dict(model.named_modules())["backbone.backbone" if plain else "backbone"](x)
    strides = [level["reduction"] for level in theirs.feature_info]
    last = [i for i, stride in enumerate(strides) if stride > 1 and stride not in strides[i + 1 :]]
    expected = theirs.forward_intermediates(x, indices=last, norm=plain, intermediates_only=True)
    for own, other in zip(found, expected, strict=True):
        assert (own - other).abs().max() <= 1e-5 * other.abs().max()
    assert report.layout == "timm"
    assert {*report.mapped.values(), *report.ignored} == theirs.state_dict().keys()
    assert all(torch.equal(before[key], model.state_dict()[key]) for key in report.untouched)
    assert set(report.untouched) >= {key for key in before if key.startswith(("decoder.", "head."))}


@pytest.mark.parametrize(("name", "new_head"), [("dla46_c", False), ("dla46_c", True), ("dla60_res2net", False)])
def test_weights_of_timms_dla_go_into_itself_under_their_own_names(name, new_head):
    theirs, model = classifier(name), dla.create_model(f"timm/{name}", num_classes=7)
    report = dla.load_weights(model, theirs.state_dict(), new_head=new_head)
    differing = {key for key, value in theirs.state_dict().items() if not torch.equal(value, model.state_dict()[key])}
    assert differing == {*report.reinitialised} == ({"fc.weight", "fc.bias"} if new_head else set())


@pytest.mark.parametrize("kind", ["file", "hub"])
def test_files_and_the_hub(kind, tmp_path, monkeypatch):
    theirs = classifier("test_resnet")
    take_from_cache_alone(monkeypatch, tmp_path)
    add_to_cache(tmp_path / "models--timm--test_resnet.r160_in1k", theirs)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "own.pth")
    model = dla.create_model("test_resnet+fpn", num_classes=3)
    dla.load_weights(model, "timm/test_resnet.r160_in1k" if kind == "hub" else tmp_path / "own.pth")
    assert torch.equal(model.backbone.body.model.layer1[0].conv1.weight, theirs.layer1[0].conv1.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state | {"gate.weight": torch.ones(1)}, "1 unknown: gate.weight"),
        (
            lambda state: {k: v for k, v in state.items() if k != "layer2.0.conv1.weight"},
            "1 missing: backbone.body.mod",
        ),
        (
            lambda state: state | {"bn1.weight": torch.ones(3)},
            r"kind: backbone.body.model.bn1.weight \(3,\) instead of",
        ),
        (lambda _: timm.create_model("resnet10t").state_dict(), "6 missing: .*of another shape or kind"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    model = dla.create_model("test_resnet+ida", num_classes=3)
    with pytest.raises(WeightsError, match=message):
        dla.load_weights(model, change(timm.create_model("test_resnet").state_dict()))


def test_the_whole_network_is_still_loaded_as_a_whole():
    one, other = (dla.create_model("test_resnet+ida", num_classes=3) for _ in range(2))
    report = dla.load_weights(other, one.state_dict())
    assert not report.untouched
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_a_backbone_of_ours_that_names_its_architecture_takes_our_names():
    classifier = dla.create_model("dla46_c", stem_stride=1, num_classes=3)
    maps = dla.create_model("dla46_c.cifar10", pretrained=True, features_only=True)
    assert maps.body.pretrained_cfg["architecture"] == "dla46_c"
    assert dla.load_weights(maps, classifier.state_dict()).layout == "ours"
    assert torch.equal(maps.body.stem[0][0].weight, classifier.stem[0][0].weight)


# --- into the classifier itself ---


def own(name: str, **options) -> torch.nn.Module:
    return randomise(dla.create_model(f"timm/{name}", **options)).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "test_vit", "levit_128s"])
def test_a_classifier_takes_all_but_the_head(name):
    theirs, model = randomise(timm.create_model(name, num_classes=7)).eval(), own(name, num_classes=3)
    with pytest.raises(WeightsError, match=r"of another shape or kind.* for other classes, give new_head=True"):
        dla.load_weights(model, theirs.state_dict())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = dla.load_weights(model, theirs.state_dict(), new_head=True)
    layers = theirs.get_classifier()
    heads = (
        {id(tensor) for tensor in layers.state_dict(keep_vars=True).values()} if hasattr(layers, "weight") else set()
    )
    assert report.layout == "timm"
    assert report.reinitialised
    assert {*report.mapped, *report.reinitialised} == before.keys()
    assert all(torch.equal(before[key], model.state_dict()[key]) for key in report.reinitialised)
    if heads:
        named = {key for key, tensor in theirs.state_dict(keep_vars=True).items() if id(tensor) in heads}
        assert {*report.reinitialised} == named
    x = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(model.forward_features(x), theirs.forward_features(x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_a_rewired_classifier_computes_what_the_weights_do(name):
    theirs, model = classifier(name), own(name, num_classes=7, rewire="hda+ida")
    nodes = [key for key in model.state_dict() if ".nodes." in key]
    fresh = dla.create_model(f"timm/{name}", num_classes=7, rewire="hda+ida").eval()
    report = dla.load_weights(fresh, theirs.state_dict())
    assert [*report.nodes] == nodes
    assert not report.untouched
    x = torch.randn(1, 3, 160, 160)
    torch.testing.assert_close(fresh(x), theirs(x))
    trained = dla.load_weights(fresh, model.state_dict())  # its own weights hold the nodes'
    assert not trained.nodes
    torch.testing.assert_close(fresh(x), model(x))
    short = {key: value for key, value in model.state_dict().items() if key != nodes[0]}
    with pytest.raises(WeightsError, match=f"1 missing: {nodes[0]}"):
        dla.load_weights(fresh, short)


@torch.no_grad()
def test_a_rewired_backbone_takes_them_too():
    theirs = classifier("test_resnet")
    plain = dla.aggregate(timm.create_model("test_resnet"), out_channels=8).eval()
    rewired = dla.aggregate(dla.rewire(timm.create_model("test_resnet"), structure="ida"), out_channels=8).eval()
    rewired.load_state_dict(plain.state_dict(), strict=False)
    for model in (plain, rewired):
        dla.load_weights(model, theirs.state_dict())
    x = torch.randn(1, 3, 70, 93)
    torch.testing.assert_close(rewired(x), plain(x))
