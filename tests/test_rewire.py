"""Rewired networks begin as what they were, have the paper's layout, train, and are still timm's."""

import copy
import math
import pickle
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from disturbed import disturb
from kept_bytes import kept_bytes
from symbolic import Equations, evaluate
from timm.models import ConvNeXt, EfficientNet, FeatureListNet, RegNet, ResNet
from timm.models._features import FeatureGetterNet, FeatureHookNet
from timm.models._manipulate import group_parameters
from timm.models.regnet import RegNetCfg
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

import dla
from dla.rewire import RewiredStage

rewire = partial(dla.rewire, verbose=False)
STRUCTURES = ["hda", "ida", "hda+ida"]


def resnet(block, layers, channels=(8, 12, 16, 20), **arguments):
    return partial(ResNet, block, layers, channels=channels, num_classes=5, **arguments)


def regnet(**arguments):
    return partial(RegNet, RegNetCfg(depth=9, w0=8, wa=7.0, wm=2.0, group_size=4, stem_width=8, **arguments))


# Blocks that end in ReLU, and signed ones: ConvNeXt, linear ends, pre-activation, other activations.
NETWORKS = {
    "basic 1, 2, 3, 4": resnet(BasicBlock, (1, 2, 3, 4)),
    "basic 2, 1, 23, 9": resnet(BasicBlock, (2, 1, 23, 9), channels=(8, 8, 8, 8)),
    "bottleneck 3, 4, 6, 3": resnet(Bottleneck, (3, 4, 6, 3), channels=(4, 4, 8, 8)),
    "resnext": resnet(Bottleneck, (2, 3, 2, 2), cardinality=4, base_width=32),
    "layer norm": resnet(BasicBlock, (2, 2, 2, 2), norm_layer="groupnorm1"),
    "silu": resnet(BasicBlock, (2, 2, 2, 2), act_layer="silu"),
    "deep stem, dilated": resnet(BasicBlock, (2, 2, 2, 2), stem_type="deep", avg_down=True, output_stride=8),
    "regnetx": regnet(),
    "regnety": regnet(se_ratio=0.25),
    "regnetz": regnet(linear_out=True, act_layer="silu", bottle_ratio=2.0),
    "regnetv": regnet(preact=True, act_layer="silu"),
    "convnext": partial(ConvNeXt, depths=(3, 3, 9, 3), dims=(8, 12, 16, 20), num_classes=5),
    "convnextv2": partial(ConvNeXt, depths=(2, 2, 6, 2), dims=(8, 12, 16, 20), use_grn=True, ls_init_value=None),
    "efficientnet": partial(timm.create_model, "tinynet_e", num_classes=5),
    "padded as by tensorflow": partial(timm.create_model, "tf_mobilenetv3_small_minimal_100", num_classes=5),
    "mobilenetv4": partial(timm.create_model, "mobilenetv4_conv_small_035", num_classes=5),
    "attention": partial(timm.create_model, "mobilenetv4_hybrid_medium_075", num_classes=5),
    "sizes rounded down": partial(timm.create_model, "mobilenetv4_conv_aa_medium", num_classes=5),
}
FEW = ["basic 1, 2, 3, 4", "regnety", "convnext", "efficientnet"]
EACH = [(name, "hda+ida") for name in NETWORKS] + [(name, structure) for name in FEW for structure in ("hda", "ida")]


def network(name, seed=0):
    """Random weights, norms and running statistics: nothing that timm begins at zero stays there."""
    torch.manual_seed(seed)
    model = NETWORKS[name]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.4, 1)
            nn.init.normal_(module.bias, 0, 0.3)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.3, 1)
    return model


def grown(model):
    """Let the nodes take part, with random running statistics too."""
    for module in model.modules():
        if isinstance(module, dla.aggregation.IdentityNode):
            for parameter in (module.norm.weight, module.norm.bias) if module.gain is None else (module.gain,):
                nn.init.normal_(parameter)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def train(model, optimizer, steps):
    """Losses on one batch, and the gradients of the last step by name."""
    torch.manual_seed(1)
    x, target = torch.randn(4, 3, 64, 64), torch.arange(4)
    losses, gradients = [], {}
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    return losses, gradients


# --- the function ---


@pytest.mark.parametrize(("name", "structure"), EACH)
@torch.no_grad()
def test_the_function_is_the_original(name, structure):
    plain = network(name)
    rewired = rewire(plain, structure=structure)
    assert any(isinstance(module, RewiredStage) for module in rewired.modules())
    for size in ((64, 64), (77, 91)):
        x = torch.randn(2, 3, *size)
        same(rewired.eval()(x), plain.eval()(x))
        same(rewired.train()(x), plain.train()(x))
    same(rewired.eval()(x), plain.eval()(x))
    outputs = plain(x)
    assert (grown(rewired)(x) - outputs).abs().max() > 1e-3  # the nodes are in it


@pytest.mark.parametrize("name", FEW)
@torch.no_grad()
def test_the_function_is_the_original_after_ten_batches_of_statistics(name):
    plain = network(name)
    rewired = rewire(plain, structure="hda+ida")
    for _ in range(10):
        x = torch.randn(2, 3, 64, 64)
        same(rewired(x), plain(x))
    own = dict(rewired.named_buffers())
    for key, buffer in plain.named_buffers():
        same(own[key], buffer)
    same(rewired.eval()(x), plain.eval()(x))


@pytest.mark.parametrize(("name", "structure"), EACH)
def test_every_weight_has_a_gradient_by_the_second_step(name, structure):
    model = rewire(network(name), structure=structure)
    _, gradients = train(model, torch.optim.SGD(model.parameters(), lr=0.01), steps=2)
    assert [key for key, gradient in gradients.items() if gradient is None or not gradient.any()] == []


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", FEW)
def test_fine_tuning_reaches_a_lower_loss(name, optimizer):
    plain = network(name)
    model = rewire(plain, structure="hda+ida")
    make = {
        "sgd": partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4),
        "adamw": partial(torch.optim.AdamW, lr=3e-3),
    }[optimizer]
    losses, _ = train(model, make(model.parameters()), steps=16)
    before, _ = train(plain, make(plain.parameters()), steps=1)
    assert losses[0] == pytest.approx(before[0], rel=1e-4)
    assert losses[-1] < 0.7 * losses[0]
    assert max(losses) < 1.5 * losses[0]


# --- the layout ---


def stage_runs(model, x):
    """Name, module, input and output of each rewired stage."""
    runs = []
    for name, module in model.named_modules():
        if isinstance(module, RewiredStage):
            module.register_forward_hook(lambda m, inputs, out, name=name: runs.append((name, m, inputs[0], out)))
    model(x)
    return runs


def blocks_of(stage):
    if hasattr(stage, "blocks"):
        return stage.blocks
    return [child for name, child in stage.named_children() if name not in ("nodes", "pool")]


@pytest.mark.parametrize("size", [64, 75])
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    "name", ["basic 1, 2, 3, 4", "basic 2, 1, 23, 9", "bottleneck 3, 4, 6, 3", "regnetx", "convnext", "efficientnet"]
)
@torch.no_grad()
def test_stages_are_the_equations(name, structure, size):
    model = grown(rewire(network(name), structure=structure)).eval()
    convnext, runs = isinstance(model, ConvNeXt), stage_runs(model, torch.randn(2, 3, size, size))
    assert runs
    for stage_name, stage, x, out in runs:
        blocks = blocks_of(stage)
        first = stage_name in ("layer1", "s1", "stages.0", "blocks.0")
        pooled = ("P",) if "ida" in structure and not first else None
        values = {("x",): stage.downsample(x) if convnext else x}
        if pooled:  # ConvNeXt's strided convolution rounds odd sizes down, the others up
            halved = nn.functional.max_pool2d(x, 2, ceil_mode=not convnext)
            values[pooled] = x if x.shape[2:] == out.shape[2:] else halved  # EfficientNet has stages of one resolution
        if structure == "ida":
            chain, equation = ("x",), Equations()
            for _ in blocks:
                chain = equation.block(chain)
            expression = ("N", pooled, chain)
        else:
            expression = Equations().merged_over(len(blocks), ("x",), pooled)
        same(out, evaluate(expression, blocks, stage.nodes, values))


def test_what_gets_nodes():
    nodes = {
        structure: [
            len(getattr(stage, "nodes", [])) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)
        ]
        for structure in STRUCTURES
        for model in [rewire(network("basic 1, 2, 3, 4"), structure=structure)]
    }
    assert nodes == {"hda": [0, 1, 2, 2], "ida": [0, 1, 1, 1], "hda+ida": [0, 1, 2, 2]}


def test_trees_need_blocks_of_as_many_channels():
    """The two blocks of MobileNetV4's second stage have 48 and 32."""
    nodes = {
        structure: [
            len(getattr(stage, "nodes", [])) for stage in rewire(network("mobilenetv4"), structure=structure).blocks
        ]
        for structure in STRUCTURES
    }
    assert nodes == {"hda": [1, 0, 3, 3, 0], "ida": [0, 1, 1, 1, 1], "hda+ida": [1, 1, 3, 3, 1]}


# --- the width of the nodes ---


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    "name", ["resnet18", "resnext50_32x4d", "regnetx_002", "regnety_032", "convnext_atto", "tf_efficientnet_lite0"]
)
def test_nodes_add_at_most_fifteen_percent(name, structure):
    with torch.device("meta"):
        plain = timm.create_model(name, num_classes=0)
        rewired = rewire(plain, structure=structure)
    assert count(rewired) - count(plain) == rewired.rewiring.added <= 0.15 * count(plain)
    assert rewired.rewiring.overhead == pytest.approx(count(rewired) / count(plain) - 1)
    for stage_name, width in rewired.rewiring.node_widths.items():
        stage = rewired.get_submodule(stage_name)
        assert count(stage.nodes) <= 0.15 * count(plain.get_submodule(stage_name))
        assert [len(node.mix) for node in stage.nodes] == [1 if width is None else 2] * len(stage.nodes)


def test_resnet50_without_a_bottleneck_doubles():
    with torch.device("meta"):
        plain = timm.create_model("resnet50", num_classes=0)
        assert count(plain) / 1e6 == pytest.approx(23.5, abs=0.05)
        assert count(rewire(plain, max_overhead=math.inf)) / 1e6 == pytest.approx(50.3, abs=0.05)
        assert count(rewire(plain)) / 1e6 == pytest.approx(26.9, abs=0.05)


def test_the_width_does_not_depend_on_stem_and_head():
    with torch.device("meta"):
        widths = [
            rewire(timm.create_model("resnet50", num_classes=classes, in_chans=channels)).rewiring.node_widths
            for classes, channels in ((0, 3), (21843, 12))
        ]
    assert widths[0] == widths[1] == {"layer1": 16, "layer2": 48, "layer3": 88, "layer4": 176}


def test_a_given_width_is_taken():
    model = rewire(network("convnext"), node_width=5)
    assert set(model.rewiring.node_widths.values()) == {5}
    assert all(node.mix[0].out_channels == node.mix[1].in_channels == 5 for node in model.stages[2].nodes)


def test_the_overhead_is_printed(capsys):
    model = dla.rewire(network("bottleneck 3, 4, 6, 3"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"ResNet {model.rewiring}\n"
    assert f"+ {model.rewiring.added / 1e6:.2f} M ({model.rewiring.overhead:.1%})" in printed.err


# --- still a timm model ---


@pytest.mark.parametrize("name", FEW)
def test_the_original_is_left_alone_and_its_state_dict_fits(name):
    plain = network(name)
    before = copy.deepcopy(plain.state_dict())
    rewired = rewire(plain, structure="hda+ida")
    train(rewired, torch.optim.SGD(rewired.parameters(), lr=0.01), steps=2)
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())
    own = rewired.state_dict()
    assert [key for key in own if ".nodes." not in key] == list(before)
    plain.load_state_dict({key: value for key, value in own.items() if key in before})
    missing = rewired.load_state_dict(before, strict=False)
    assert not missing.unexpected_keys
    assert all(".nodes." in key for key in missing.missing_keys)


@pytest.mark.parametrize("name", FEW)
@torch.no_grad()
def test_a_state_dict_goes_into_a_network_rewired_again(name, tmp_path):
    model = grown(rewire(network(name), structure="hda+ida")).eval()
    torch.save(model.state_dict(), tmp_path / "rewired.pt")
    again = rewire(network(name, seed=2), structure="hda+ida").eval()
    again.load_state_dict(torch.load(tmp_path / "rewired.pt", weights_only=True))
    x = torch.randn(2, 3, 64, 64)
    same(again(x), model(x))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same(twin(x), model(x))
        assert twin.rewiring == model.rewiring


@pytest.mark.parametrize("name", FEW)
@torch.no_grad()
def test_timms_feature_wrappers_take_it(name):
    model = grown(rewire(network(name), structure="hda+ida")).eval()
    x = torch.randn(2, 3, 70, 70)
    last, maps = model.forward_intermediates(x)
    same(model.forward_features(x), last)
    if isinstance(model, EfficientNet):
        return  # timm has no wrapper for it, but a class
    indices = tuple(range(len(maps)))
    flat = isinstance(model, ConvNeXt)
    wrapped = FeatureListNet(copy.deepcopy(model), out_indices=indices, flatten_sequential=flat)
    assert wrapped.feature_info.channels() == [m.shape[1] for m in maps]
    for features in (
        wrapped,
        FeatureHookNet(copy.deepcopy(model), out_indices=indices),
        FeatureGetterNet(copy.deepcopy(model), out_indices=indices),
    ):
        for one, other in zip(features.eval()(x), maps, strict=True):
            same(one, other)


@pytest.mark.parametrize("name", FEW)
def test_classifier_and_layer_decay_are_timms(name):
    plain = network(name)
    model = rewire(plain)
    model.reset_classifier(7)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 7)
    depth, own = (group_parameters(m, m.group_matcher(), reverse=True) for m in (plain, model))
    assert {key: own[key] for key in depth} == depth
    assert {own[key] for key in own if ".nodes." in key} == {max(depth.values())}  # new, as the classifier is


@pytest.mark.parametrize("name", FEW)
def test_gradient_checkpointing_changes_no_gradient(name):
    model = grown(rewire(network(name), structure="hda+ida"))
    other = copy.deepcopy(model)
    other.set_grad_checkpointing()
    sgd = partial(torch.optim.SGD, lr=0.0)
    (_, expected), (_, gradients) = (train(m, sgd(m.parameters()), steps=1) for m in (model, other))
    for key, gradient in gradients.items():
        same(gradient, expected[key])
    if not isinstance(model, ResNet | EfficientNet):  # timm runs these stages again; their batch norms count twice
        for stage in ("s2", "s3", "s4") if isinstance(model, RegNet) else ("stages.2",):
            kept, statistics = (dict(m.get_submodule(stage).named_buffers()) for m in (model, other))
            assert all(torch.equal(kept[key], statistics[key]) for key in kept)


def test_gradient_checkpointing_keeps_less():
    model, x = rewire(network("convnext")).train(), torch.randn(2, 3, 64, 64)
    plain = kept_bytes(model, x)
    model.set_grad_checkpointing()
    assert kept_bytes(model, x) < 0.7 * plain
    model.set_grad_checkpointing(False)
    assert kept_bytes(model, x) == plain


def test_mode_type_and_frozen_parts_are_kept():
    plain = network("basic 1, 2, 3, 4").double()
    plain.layer2.eval().requires_grad_(False)
    model = rewire(plain)
    assert not model.layer2.training
    assert not any(module.training for module in model.layer2.modules())
    assert model.training
    assert model.layer3.nodes[0].norm.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert not any(parameter.requires_grad for parameter in model.get_submodule("layer2.0").parameters())
    assert not any(module.training for module in rewire(plain.eval()).modules())


@pytest.mark.parametrize("name", [*FEW, "mobilenetv4", "regnetz"])
@torch.no_grad()
def test_the_function_is_the_original_under_autocast(name):
    plain = network(name)
    rewired, x = rewire(plain, structure="hda+ida"), torch.randn(2, 3, 77, 91)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rewired.eval()(x), plain.eval()(x))
        assert rewired.forward_features(x).dtype == plain.forward_features(x).dtype


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", ["basic 1, 2, 3, 4", "convnext"])
@torch.no_grad()
def test_it_exports_with_any_size(name):
    """ConvNeXt's stages round sizes down, ResNet's up."""
    model = grown(rewire(network(name), structure="ida")).eval()
    any_size = {"x": dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)}
    exported = torch.export.export(model, (torch.randn(2, 3, 96, 64),), dynamic_shapes=any_size).module()
    for size in ((70, 97), (71, 130)):
        x = torch.randn(3, 3, *size)
        same(exported(x), model(x))


@pytest.mark.parametrize("name", FEW)
@torch.no_grad()
def test_it_exports(name):
    model = grown(rewire(network(name), structure="hda+ida")).eval()
    x = torch.randn(1, 3, 64, 64)
    same(torch.export.export(model, (x,)).module()(x), model(x))


@pytest.mark.slow
def test_it_compiles_to_one_graph():
    """In a process of its own: here, the run-time checks of shapes stand in the compiler's way."""
    program = """
import dla, timm, torch
x = torch.randn(2, 3, 70, 65)
backends = {"resnet18": "inductor", "regnetx_002": "eager", "convnext_atto": "eager", "tinynet_e": "eager"}
for name, backend in backends.items():
    model = dla.rewire(timm.create_model(name), structure="hda+ida").eval()
    for module in model.modules():
        if isinstance(module, dla.aggregation.IdentityNode):
            torch.nn.init.normal_(module.norm.weight if module.gain is None else module.gain)
    with torch.no_grad():
        out, compiled = model(x), torch.compile(model, fullgraph=True, backend=backend)(x)
    torch.testing.assert_close(compiled, out, rtol=1e-3, atol=1e-4)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("structure", ["hda", "hda+ida"])
@pytest.mark.parametrize("name", FEW)
@torch.no_grad()
def test_aggregate_takes_it(name, structure):
    plain, rewired = network(name), rewire(network(name), structure=structure)
    fused, grown_later = (dla.aggregate(model, out_channels=8).eval() for model in (plain, rewired))
    missing = grown_later.load_state_dict(fused.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert missing.missing_keys
    assert all(".nodes." in key for key in missing.missing_keys)
    x = torch.randn(2, 3, 70, 93)
    same(grown_later(x), fused(x))
    assert (grown(grown_later)(x) - fused(x)).abs().max() > 1e-3


@pytest.mark.parametrize("name", FEW)
def test_the_nodes_and_blocks_learn_under_iterative_aggregation(name):
    model = dla.aggregate(grown(rewire(network(name))), out_channels=8)
    frugal = copy.deepcopy(model)
    frugal.set_grad_checkpointing()
    torch.manual_seed(0)
    x = torch.randn(2, 3, 70, 93)
    for each in (model, frugal):
        each(x).square().mean().backward()
    for (key, p), other in zip(model.named_parameters(), frugal.parameters(), strict=True):
        assert p.grad.any() or "se.fc" in key, key  # few channels squeezed: a ReLU may be idle there
        same(other.grad, p.grad)
    for one, other in zip(frugal.buffers(), model.buffers(), strict=True):
        assert torch.equal(one, other)


def test_the_example_runs(capsys):
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "rewire.py"))
    first, *steps, last = capsys.readouterr().out.splitlines()
    assert first == "largest difference: 0.0e+00"
    losses = [float(step.split()[-1]) for step in steps]
    assert losses[-1] < losses[0]
    assert last == "(8, 64, 32, 32)"


# --- what cannot be ---


@pytest.mark.parametrize("name", ["densenet121", "ghostnet_100", "vit_tiny_patch16_224", "resnetv2_50"])
def test_other_families_are_refused(name):
    with torch.device("meta"):
        other = timm.create_model(name)
    with pytest.raises(
        ValueError, match=rf"ResNeXt, .* or MobileNet \(2 to 4\), .* not {type(other).__name__} of timm.models"
    ):
        rewire(other)


def test_torchvisions_networks_are_refused_but_their_weights_are_timms():
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match=r"torchvision\.models\.resnet; .* take their state dict"),
    ):
        rewire(torchvision.models.resnet18())
    trained, x = disturb(torchvision.models.resnet18(num_classes=3)).eval(), torch.randn(1, 3, 65, 97)
    plain = timm.create_model("resnet18", num_classes=3).eval()
    plain.load_state_dict(trained.state_dict())
    torch.testing.assert_close(rewire(plain, structure="hda")(x), trained(x), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("unchecked_shapes")  # nor types
def test_bad_arguments_are_named():
    model = network("basic 1, 2, 3, 4")
    with pytest.raises(ValueError, match=r"'hda', 'ida' or 'hda\+ida', not 'fpn'"):
        rewire(model, structure="fpn")
    for width in (0, 1.5):
        with pytest.raises(ValueError, match=f"node_width must be a whole number of at least 1, or None, not {width}"):
            rewire(model, node_width=width)
    with pytest.raises(ValueError, match=r"max_overhead=0\.001 leaves no room for the nodes of layer2: allow more"):
        rewire(model, max_overhead=0.001)
    for share in (0.0, math.nan, "0.1"):
        with pytest.raises(ValueError, match="max_overhead must be a share of a stage's parameters, such as"):
            rewire(model, max_overhead=share)
    with pytest.raises(ValueError, match="this ResNet is rewired already"):
        rewire(rewire(model))
    with pytest.raises(ValueError, match="nothing to aggregate by 'hda': no stage has two blocks"):
        rewire(resnet(BasicBlock, (1, 1, 1, 1))())
