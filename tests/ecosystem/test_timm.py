"""timm's registry, feature wrappers, optimizers and moving averages take our networks as they take its own."""

import pytest
import timm
import torch
from disturbed import disturb
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3

import dla
import dla.timm  # the registration that is tested
from dla.models import DLA, VARIANTS
from dla.weights import WeightsError

SMALL = "dla46_c_agg"
WRAPPERS = {"getter": "FeatureGetterNet", "list": "FeatureListNet", "dict": "FeatureDictNet", "hook": "FeatureHookNet"}


def unwrapped(key):
    """Our name of a parameter in a wrapper: the getter puts the network in `model`, the others flatten its parts."""
    key = key.removeprefix("model.")
    return key.replace("_", ".", 1) if key.startswith(("stem_", "stages_")) else key


@pytest.fixture
def theirs(tmp_path):
    """timm's own DLA-60-X-C with random weights and statistics, and the file of its weights."""
    torch.manual_seed(0)
    model = timm.create_model("dla60x_c", num_classes=7).eval()
    disturb(model)
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    return model, tmp_path / "timm.pth"


def test_ten_names_stand_beside_timms_own():
    assert set(timm.list_models("*_agg")) == {f"{name}_agg" for name in VARIANTS}
    assert set(timm.list_models("dla*_agg.*", pretrained=True)) == {f"{name}_agg.in1k" for name in VARIANTS}
    assert not isinstance(timm.create_model("dla46_c"), DLA)


@pytest.mark.parametrize("name", VARIANTS)
def test_each_name_is_its_network(name):
    with torch.device("meta"):
        model, own = timm.create_model(f"{name}_agg"), timm.create_model(name)
    assert isinstance(model, DLA)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in own.parameters())
    cfg, facts = model.pretrained_cfg, own.pretrained_cfg
    assert cfg["hf_hub_id"] == facts["hf_hub_id"] == f"timm/{name}.in1k"
    for key in ("mean", "std", "input_size", "pool_size", "crop_pct", "interpolation", "num_classes"):
        assert cfg[key] == facts[key]
    assert model.get_submodule(cfg["first_conv"]).in_channels == 3
    assert model.get_submodule(cfg["classifier"]) is model.get_classifier()


@torch.no_grad()
def test_timms_arguments_reach_the_network():
    model = timm.create_model(
        SMALL,
        num_classes=5,
        in_chans=1,
        drop_rate=0.1,
        drop_path_rate=0.2,
        output_stride=16,
        global_pool="max",
        norm_layer="groupnorm",
    ).eval()
    x = torch.randn(2, 1, 65, 70)
    assert model(x).shape == (2, 5)
    assert model.forward_features(x).shape == (2, 256, 5, 5)
    assert "Max" in str(model.head.global_pool)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    assert timm.create_model(SMALL, num_classes=0, global_pool="").eval()(torch.randn(1, 3, 64, 64)).ndim == 4
    with pytest.raises(TypeError, match="planes"):
        timm.create_model(SMALL, planes=3)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@torch.no_grad()
def test_every_feature_wrapper_gives_our_maps(wrapper):
    network = dla.create_model("dla46_c", num_classes=0).eval()
    disturb(network)
    x = torch.randn(2, 3, 65, 70)
    expected = network.forward_intermediates(x, [1, 3, 4], intermediates_only=True)
    features = timm.create_model(SMALL, features_only=True, out_indices=(1, 3, 4), feature_cls=wrapper).eval()
    assert type(features).__name__ == WRAPPERS[wrapper]
    own = network.state_dict()
    features.load_state_dict({key: own[unwrapped(key)] for key in features.state_dict()})
    maps = features(x)
    maps = list(maps.values()) if isinstance(maps, dict) else maps
    for a, b in zip(maps, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert features.feature_info.channels() == [32, 64, 128]
    assert features.feature_info.reduction() == [2, 8, 16]


def test_the_wrapper_drops_what_no_map_needs():
    features = timm.create_model(SMALL, features_only=True, out_indices=(1, 3))
    sum(m.square().mean() for m in features(torch.randn(2, 3, 65, 70))).backward()
    assert [name for name, p in features.named_parameters() if p.grad is None] == []


@torch.no_grad()
@pytest.mark.parametrize("indices", [1, [-2], [0, 3], None])
def test_pruning_keeps_the_maps(indices):
    whole, pruned = dla.create_model("dla46_c").eval(), dla.create_model("dla46_c").eval()
    pruned.load_state_dict(whole.state_dict())
    x = torch.randn(1, 3, 65, 70)
    kept = pruned.prune_intermediate_layers(indices)
    assert len(pruned.stages) == kept[-1] + 1
    assert pruned(x).shape[1] == pruned.num_features
    for a, b in zip(
        pruned.forward_intermediates(x, kept, intermediates_only=True),
        whole.forward_intermediates(x, indices, intermediates_only=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_pruning_can_leave_the_head():
    model = dla.create_model("dla46_c", num_classes=3)
    assert model.prune_intermediate_layers([1, 5], prune_head=False) == [1, 5]
    assert model.num_classes == 3
    model.prune_intermediate_layers([4], prune_head=False)  # the head is of the last stage, which is gone
    assert model.num_classes == 0
    with pytest.raises(ValueError, match="at least one feature map"):
        model.prune_intermediate_layers([])


def run_order(model, x):
    """The names of the parameters, in the order in which their modules first run."""
    order: list[str] = []
    for prefix, module in model.named_modules():
        own = [f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)]
        if own:
            module.register_forward_hook(lambda *_, own=own: order.extend(n for n in own if n not in order))
    model(x)
    return order


@pytest.mark.parametrize("name", ["dla34", "dla60x_c", "dla102x", "dla46_cup", "dla46_cida"])
@torch.no_grad()
def test_layers_follow_the_order_in_which_they_run(name):
    model = dla.create_model(name, num_classes=3).eval()
    order = run_order(model, torch.randn(1, 3, 64, 64))
    assert set(order) == {name for name, _ in model.named_parameters()}
    for coarse in (False, True):
        layers = group_parameters(model, model.group_matcher(coarse), reverse=True)
        depths = [layers[name] for name in order]
        assert depths == sorted(depths)
        blocks = sum(len(s.aggregate.blocks) for s in model.modules() if hasattr(s, "aggregate") and hasattr(s, "pool"))
        # The stem, the two stages without a tree, the trees or their blocks, and the head.
        assert len(set(depths)) == 4 + (4 if coarse else blocks)


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup"])
def test_layer_decay(name):
    model = dla.create_model(name, num_classes=3)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.1, weight_decay=0.05, layer_decay=0.75)
    scales = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    parameters = dict(model.named_parameters())
    assert scales.keys() == {id(p) for p in parameters.values()}
    stem = next(p for key, p in parameters.items() if "stem" in key)
    assert scales[id(stem)] == min(scales.values()) < 0.1
    assert scales[id(model.get_classifier().weight)] == 1
    kept = {key for key, p in parameters.items() if decays[id(p)] == 0 and p.ndim > 1}
    assert kept == model.no_weight_decay()
    assert bool(kept) == name.endswith("up")


@pytest.mark.parametrize("name", ["convnext_atto+ida", "resnet18+dla_up"])
@torch.no_grad()
def test_layers_of_timms_backbones_stay_in_order_under_our_decoders(name):
    model = dla.create_model(name, num_classes=3).eval()
    order = run_order(model, torch.randn(1, 3, 64, 64))
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    depths = [layers[name] for name in order]
    assert depths == sorted(depths)
    assert len(set(depths)) > 8
    assert {layers[name] for name in order if not name.startswith("backbone.")} == {max(depths)}


def test_a_backbone_that_nobody_can_group_is_one_layer():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse = torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.Conv2d(8, 16, 3, 2, 1)

        def forward(self, x):
            return [fine := self.fine(x), self.coarse(fine)]

    model = dla.aggregate(Two(), out_channels=8)
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    assert {name.partition(".")[0] for name, layer in layers.items() if layer == 0} == {"backbone"}


def test_what_a_backbone_asks_not_to_decay_is_passed_on():
    model = dla.create_model("swin_tiny_patch4_window7_224+ida", num_classes=3)
    named = {name for name, _ in model.named_parameters()}
    tables = {name for name in named if name.endswith("relative_position_bias_table")}
    assert tables
    assert tables < model.no_weight_decay() <= named


def test_of_a_list_of_maps_too():
    model = dla.create_model("dla46_c", features_only=True, out_indices=(1, 3))
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    assert layers.keys() == {name for name, _ in model.named_parameters()}
    assert len(set(layers.values())) == 3 + 2 + 4
    assert model.no_weight_decay() == set()


def test_moving_average():
    model = timm.create_model(SMALL, num_classes=3)
    start = model.head.fc.weight.detach().clone()
    average = ModelEmaV3(model, decay=0.75)
    with torch.no_grad():
        model.head.fc.weight.add_(1)
    average.update(model)
    torch.testing.assert_close(average.module.head.fc.weight, start + 0.25)
    assert average.module.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 3)


@torch.no_grad()
def test_weights_in_timms_layout_give_timms_output(theirs):
    own, path = theirs
    ours = timm.create_model("dla60x_c_agg", True, num_classes=7, pretrained_cfg_overlay={"file": str(path)}).eval()
    x = torch.randn(2, 3, 96, 64)
    torch.testing.assert_close(ours(x), own(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_other_classes_and_channels_take_the_rest_of_the_weights(theirs):
    own, path = theirs
    overlay = {"file": str(path)}
    gray = timm.create_model("dla60x_c_agg", True, num_classes=3, in_chans=1, pretrained_cfg_overlay=overlay).eval()
    features = timm.create_model("dla60x_c_agg", True, features_only=True, pretrained_cfg_overlay=overlay).eval()
    x = torch.randn(1, 1, 64, 64)
    expected = own.forward_features(x.expand(1, 3, -1, -1))
    torch.testing.assert_close(gray.forward_features(x), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(features(x.expand(1, 3, -1, -1))[-1], expected, rtol=1e-3, atol=1e-3)
    assert features.feature_info.reduction() == [2, 4, 8, 16, 32]  # of all stages but the first, unless asked for
    assert gray(x).shape == (1, 3)


@torch.no_grad()
def test_a_network_of_several_images_takes_the_weights_of_one(theirs):
    own, path = theirs
    options = {"in_chans": (3, 1), "num_classes": 7, "pretrained_cfg_overlay": {"file": str(path)}}
    both = timm.create_model("dla60x_c_agg", True, **options).eval()
    both.beside[0][0][1].weight.zero_()  # what is left of the second image then is nothing
    x = torch.randn(1, 4, 64, 64)
    torch.testing.assert_close(both(x), own(x[:, :3]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "options"), [("dla46_c_agg", {}), ("dla60x_c_agg", {"norm_layer": "groupnorm"})])
def test_weights_of_another_network_are_refused_whatever_the_classes(theirs, name, options):
    with pytest.raises(WeightsError):
        timm.create_model(name, True, num_classes=3, pretrained_cfg_overlay={"file": str(theirs[1])}, **options)


@torch.no_grad()
def test_timm_saves_and_loads_a_folder_and_a_checkpoint(tmp_path):
    model = timm.create_model(SMALL, num_classes=5).eval()
    disturb(model)
    x = torch.randn(1, 3, 64, 64)
    timm.models.save_for_hf(model, tmp_path / "folder", model_args={"num_classes": 5})
    again = timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True).eval()
    torch.testing.assert_close(again(x), model(x))
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loaded = timm.create_model(SMALL, num_classes=5, checkpoint_path=str(tmp_path / "weights.pth")).eval()
    torch.testing.assert_close(loaded(x), model(x))
