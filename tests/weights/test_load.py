"""Weights are loaded strictly, from memory or file, and whatever does not fit is named."""

from functools import partial

import pytest
import torch
from disturbed import randomise
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchvision.ops import FrozenBatchNorm2d

import dla
from dla.models.own import load_named
from dla.weights import WeightsError, packaged
from dla.weights.packaged import pack


@pytest.mark.parametrize("layout", ["timm", "ours"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dla46_cup", {}),
        ("dla46_c", {"num_classes": 0}),
        ("dla46_c", {"features_only": True}),
        ("dla46_c", {"features_only": True, "out_indices": (1, 3)}),
    ],
)
def test_a_classifiers_weights_fit_what_is_built_on_it(state, layout, name, options):
    classifier = dla.create_model("dla46_c", num_classes=5)
    dla.load_weights(classifier, state)
    model = dla.create_model(name, **options)
    dla.load_weights(model, state if layout == "timm" else classifier.state_dict())
    loaded = {key.rpartition("body.")[2]: value for key, value in model.state_dict().items()}
    for key in ("stem.0.0.weight", "stages.3.aggregate.nodes.1.conv.weight"):
        assert torch.equal(loaded[key], classifier.state_dict()[key])


def test_our_own_layout_and_training_checkpoints(tmp_path):
    model, other = (dla.create_model("dla46_cida", num_classes=3) for _ in range(2))
    dla.load_weights(other, model.state_dict())
    checkpoint = {"state_dict": {f"model.{key}": value for key, value in model.state_dict().items()}, "epoch": 3}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    third = dla.create_model("dla46_cida", num_classes=3)
    dla.load_weights(third, tmp_path / "last.ckpt")
    for a, b, c in zip(model.parameters(), other.parameters(), third.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_misfits_are_named_and_nothing_is_loaded(state):
    model = dla.create_model("dla46_c", num_classes=5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    lacking = {key: value for key, value in state.items() if "level2.root.bn" not in key}
    with pytest.raises(WeightsError, match=r"5 missing: stages.2.aggregate.nodes.0.norm.bias"):
        dla.load_weights(model, lacking)
    with pytest.raises(WeightsError, match=r"1 unknown: level2\.project\.9\.weight"):
        dla.load_weights(model, {**state, "level2.project.9.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"head.fc.weight \(5, 256\) instead of \(7, 256\)"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=7), state)
    with pytest.raises(WeightsError, match=r"give new_head=True$"):  # and no word of a decoder, which it lacks
        dla.load_weights(dla.create_model("dla46_c", num_classes=7), before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_another_network_is_refused(state):
    with pytest.raises(WeightsError, match="do not fit the model"):
        dla.load_weights(dla.create_model("dla34", num_classes=5), state)


@torch.no_grad()
def test_packed_weights_come_back_with_their_facts(tmp_path):
    model = dla.create_model("dla46_cida", num_classes=2).eval()
    cfg = {
        "num_classes": 2,
        "classes": ["a", "b"],
        "colors": [[0, 0, 0], [1, 2, 3]],
        "mean": [0.5] * 3,
        "std": [1.0] * 3,
    }
    pack(model, cfg, tmp_path / "dla46_cida.toy.safetensors")
    found = packaged(tmp_path)
    assert list(found) == ["dla46_cida.toy"]
    copy = dla.create_model("dla46_cida", num_classes=2).eval()
    load_named(copy, found["dla46_cida.toy"], pretrained=True, num_classes=None)
    assert copy.pretrained_cfg == cfg
    x = torch.randn(1, 3, 70, 65)
    assert (copy(x) - model(x)).abs().max() < 2e-2 * model(x).abs().max()  # what float16 costs


@torch.no_grad()
def test_the_last_layer_may_be_linear(state):
    linear = {**state, "fc.weight": state["fc.weight"].flatten(1)}
    models = [dla.create_model("dla46_c", num_classes=5) for _ in range(2)]
    for model, source in zip(models, (state, linear), strict=True):
        assert len(dla.load_weights(model, source).mapped) == len(state)
    assert torch.equal(models[0].head.fc.weight, models[1].head.fc.weight)


def test_the_report_says_where_everything_went(state):
    report = dla.load_weights(dla.create_model("dla46_cup", num_classes=3), state)
    assert report.layout == "timm"
    assert report.mapped["backbone.body.stem.0.0.weight"] == "base_layer.0.weight"
    assert len(report.mapped) == len(state) - 2
    assert report.ignored == ("fc.weight", "fc.bias")
    assert report.reinitialised == ()
    assert {key.partition(".")[0] for key in report.untouched} == {"decoder", "head"}
    lines = str(report).splitlines()
    assert lines[:2] == ["288 tensors loaded, layout: timm", "2 ignored because unused: fc.weight, fc.bias"]
    assert lines[2].startswith(f"{len(report.untouched)} untouched because the weights are a classifier's: decoder.")

    report = dla.load_weights(dla.create_model("dla46_c", num_classes=7), state, new_head=True)
    assert report.reinitialised == ("head.fc.weight", "head.fc.bias")
    assert "2 left as built because a new head was asked for: head.fc.weight, head.fc.bias" in str(report)


def test_no_tensor_is_in_two_places_or_in_none(state):
    model = dla.create_model("dla46_c", features_only=True, out_indices=(1, 3))
    report = dla.load_weights(model, state)
    assert sorted([*report.mapped.values(), *report.ignored]) == sorted(state)
    assert sorted([*report.mapped, *report.reinitialised, *report.untouched]) == sorted(model.state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        torch.compile,
        lambda model: nn.DataParallel(torch.compile(model)),
        lambda model: torch.compile(nn.DataParallel(model)),
        AveragedModel,
        ModelEmaV3,
    ],
)
def test_wrapped_models_take_weights_and_give_them(state, wrap):
    model = wrap(dla.create_model("dla46_c", num_classes=5))
    report = dla.load_weights(model, state)
    assert len(report.mapped) == len(state)
    exported = dla.export_weights(model, "timm")
    assert all(torch.equal(exported[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x.numpy(), "stem.0.0.weight is a ndarray and no tensor"),
        (lambda x: (10 * x).to(torch.uint8), "stem.0.0.weight is in torch.uint8"),
        (lambda x: x.where(x < 0, torch.nan), "stem.0.0.weight holds NaN or infinity"),
        (lambda x: x.to_sparse(), "stem.0.0.weight has no memory, or is quantised or sparse"),
        (lambda x: x.to("meta"), "stem.0.0.weight has no memory, or is quantised or sparse"),
    ],
)
def test_what_cannot_be_a_weight_is_refused(state, spoil, said):
    model = dla.create_model("dla46_c", num_classes=5)
    before = model.stem[0][0].weight.clone()
    with pytest.raises(WeightsError, match=rf"1 of another shape or kind: {said}\)"):
        dla.load_weights(model, {**state, "base_layer.0.weight": spoil(state["base_layer.0.weight"])})
    assert torch.equal(model.stem[0][0].weight, before)


def test_a_model_without_memory_is_refused(state):
    with torch.device("meta"):
        model = dla.create_model("dla46_c", num_classes=5)
    with pytest.raises(WeightsError, match=r"on the meta device, .* give model.to_empty\(device='cpu'\)"):
        dla.load_weights(model, state)


def test_a_model_that_is_trained_on_several_devices_takes_weights(state):
    model = dla.create_model("dla46_c", num_classes=5)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(model)
        dla.load_weights(torch.compile(parallel), state)
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(model.stem[0][0].weight, state["base_layer.0.weight"])


@pytest.mark.parametrize("given", [{"weights": {"stem.0.0.weight": torch.zeros(1)}}, {}])
def test_what_no_name_is_known_of_is_told(given):
    names = next(iter(given), r"\(none\)")
    message = (
        rf"has none of these names, nor .*: {names}\. Give .*, alone or as state_dict, model_state_dict, model in a"
    )
    with pytest.raises(WeightsError, match=message):
        dla.load_weights(dla.create_model("dla46_c"), given)


def test_a_network_of_another_kind_says_what_it_lacks(state):
    with pytest.raises(WeightsError, match=r"missing: bn1.*unknown: .*layout: timm"):
        dla.load_weights(dla.create_model("timm/test_resnet", num_classes=5), state)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["timm", "ours"])
@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup"])
def test_frozen_norms_give_the_same_output(state, name, layout):
    model = randomise(dla.create_model(name, num_classes=5))
    frozen = dla.create_model(name, num_classes=5, norm_layer=FrozenBatchNorm2d).eval()
    given = model.state_dict()
    if layout == "timm":
        given = dla.export_weights(model, "official")
    report = dla.load_weights(frozen, given)
    assert any(key.endswith("num_batches_tracked") for key in report.ignored)
    x = torch.randn(1, 3, 70, 65)
    torch.testing.assert_close(frozen(x), model(x), rtol=1e-3, atol=1e-4 * float(model(x).abs().max()))


def test_a_counter_of_no_norm_is_unknown(state):
    stray = {**state, "level3.other.num_batches_tracked": torch.tensor(1)}
    for norm_layer in ("batchnorm", FrozenBatchNorm2d):
        model = dla.create_model("dla46_c", num_classes=5, norm_layer=norm_layer)
        with pytest.raises(WeightsError, match=r"1 unknown: level3.other.num_batches_tracked"):
            dla.load_weights(model, stray)
        with pytest.raises(WeightsError, match=r"1 unknown: other.num_batches_tracked"):
            dla.load_weights(model, {**model.state_dict(), "other.num_batches_tracked": torch.tensor(1)})


@torch.no_grad()
def test_a_dense_predictor_that_was_built_without_memory_gives_the_same_output():
    model = randomise(dla.create_model("dla46_cup", num_classes=3))
    with torch.device("meta"):
        inside = dla.create_model("dla46_cup", num_classes=3).to_empty(device="cpu")
        empty, assigned = (dla.create_model("dla46_cup", num_classes=3) for _ in range(2))
    x = torch.randn(1, 3, 70, 65)
    for copy in (inside, empty.to_empty(device="cpu")):
        dla.load_weights(copy, model.state_dict())
        assert torch.equal(copy.eval()(x), model(x))
    assigned.load_state_dict(model.state_dict(), assign=True)
    assert torch.equal(assigned.eval()(x), model(x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["dla46_cup", "dla46_cida", "dla46_c+ida"])
def test_a_dense_predictors_weights_fit_what_it_stands_on(name):
    dense = randomise(dla.create_model(name, num_classes=5))
    features = dla.create_model("dla46_c", features_only=True).eval()
    report = dla.load_weights(features, dense.state_dict())
    assert {key.partition(".")[0] for key in report.ignored} == {"decoder", "head"}
    x = torch.randn(1, 3, 70, 65)
    expected = dense.backbone(x)
    for found, theirs in zip(features(x)[-len(expected) :], expected, strict=True):
        assert torch.equal(found, theirs)

    classifier = dla.create_model("dla46_c", num_classes=5).eval()
    with pytest.raises(WeightsError, match=r"\(2 missing: head.fc.bias, head.fc.weight\)"):
        dla.load_weights(classifier, dense.state_dict())
    with pytest.raises(WeightsError, match=r"1 unknown: loss.weight"):
        dla.load_weights(features, {**dense.state_dict(), "loss.weight": torch.ones(1)})
    report = dla.load_weights(classifier, dense.state_dict(), new_head=True)
    assert report.reinitialised == ("head.fc.weight", "head.fc.bias")
    assert torch.equal(classifier.forward_features(x), expected[-1])


@torch.no_grad()
def test_a_list_of_maps_fits_what_is_built_on_it():
    features = randomise(dla.create_model("dla46_c", features_only=True))
    dense = dla.create_model("dla46_cup", num_classes=3).eval()
    report = dla.load_weights(dense, features.state_dict())
    assert {key.partition(".")[0] for key in report.untouched} == {"decoder", "head"}
    x = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(dense.backbone(x), features(x), strict=True))


@pytest.mark.parametrize("given", ["timm", "ours"])
@pytest.mark.parametrize("asked", [True, "head", ["head"]])
def test_the_only_head_may_be_named(state, given, asked):
    if given == "ours":
        source = dla.create_model("dla46_c", num_classes=5)
        dla.load_weights(source, state)
        state = source.state_dict()
    model = dla.create_model("dla46_c", num_classes=7)
    report = dla.load_weights(model, state, new_head=asked)
    assert report.reinitialised == ("head.fc.weight", "head.fc.bias")
    assert {key.rpartition(".")[0] for key in report.ignored} == {"fc" if given == "timm" else "head.fc"}
    assert not dla.load_weights(dla.create_model("dla46_cup"), state, new_head=asked).reinitialised


def test_a_head_that_nothing_has_is_told(state):
    with pytest.raises(ValueError, match="new_head names fc, hm, but the heads are head: name some of these"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), state, new_head=["hm", "fc"])


def test_heads_that_do_not_fit_are_named_as_the_new_ones():
    """To give all heads anew would leave the fitting ones untrained."""
    build = partial(dla.create_model, "dla34_centernet", decoder="plain", head_channels=8)
    given = dla.export_weights(build(heads={"hm": 1, "id": 4, "wh": 2}), "official")
    model = build(heads={"hm": 3, "wh": 2})
    lacking = {key: value for key, value in given.items() if not key.startswith("base.level5")}
    for weights in (given, lacking):
        with pytest.raises(WeightsError, match=r"decoder and in_chans; .* these heads alone new_head=\['hm', 'id'\]$"):
            dla.load_weights(model, weights)
    report = dla.load_weights(model, given, new_head=["hm", "id"])
    assert {key.split(".")[1] for key in report.reinitialised} == {"hm"}


def test_a_single_missing_counter_is_missed(state):
    lacking = {key: value for key, value in state.items() if key != "base_layer.1.num_batches_tracked"}
    with pytest.raises(WeightsError, match=r"1 missing: stem.0.1.num_batches_tracked"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), lacking)


def test_new_heads_are_no_remedy_for_a_fault_elsewhere(state):
    given = {key: value for key, value in state.items() if not key.startswith("level3")}
    with pytest.raises(WeightsError, match=r"missing: stages\.3") as raised:
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), given)
    assert "new_head" not in str(raised.value)
    for weights in (state, given):
        with pytest.raises(WeightsError, match="and out_stride; or, for other classes, give new_head=True"):
            dla.load_weights(dla.create_model("dla46_c", num_classes=6), weights)


def test_numbers_that_the_network_cannot_hold_are_refused(state):
    key = "base_layer.1.running_var"
    model = dla.create_model("dla46_c", num_classes=5).half()
    with pytest.raises(WeightsError, match=r"running_var holds NaN, infinity or numbers too large for torch.float16"):
        dla.load_weights(model, {**state, key: torch.full_like(state[key], 1e5)})
    dla.load_weights(model, {**state, key: torch.ones_like(state[key]).to(torch.float8_e4m3fn)})
    assert torch.equal(model.stem[0][1].running_var, torch.ones(16).half())


def test_a_file_before_the_model_is_told(state):
    with pytest.raises(TypeError, match="the model comes first, then its weights: expected a network, not str"):
        dla.load_weights("dla46_c.pth", dla.create_model("dla46_c"))


def test_another_decoder_leaves_the_backbone():
    detector, model = dla.create_model("dla34_centernet", heads={"hm": 2}), dla.create_model("dla34up", num_classes=2)
    with pytest.raises(WeightsError, match=r"give the backbone alone, as in load_weights\(model.backbone, ...\)"):
        dla.load_weights(model, detector.state_dict())
    dla.load_weights(model.backbone, detector.state_dict())
    torch.testing.assert_close(
        model.backbone.state_dict()["body.stem.0.0.weight"], detector.state_dict()["backbone.body.stem.0.0.weight"]
    )
