"""The same network in the structures of Figure 1, and at other widths."""

import pytest
import torch

import dla
from dla.models.stage import STRUCTURES, Stage
from dla.models.variants import VARIANTS


def small(structure: str, **options) -> torch.nn.Module:
    return dla.create_model("dla34", num_classes=7, structure=structure, width=0.25, stem_stride=2, **options)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_parameter_learns_at_odd_sizes(structure):
    model = small(structure)
    logits = model(torch.randn(2, 3, 37, 51))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_blocks_are_the_same(structure):
    def blocks(model: torch.nn.Module) -> list[tuple[str, torch.Size]]:
        return [(name, p.shape) for name, p in model.named_parameters() if ".blocks." in name]

    assert blocks(small(structure)) == blocks(small("dla"))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_nodes_belong_to_a_layer(structure):
    from timm.models import group_parameters

    model = small(structure)
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    assert set(layers) == {name for name, _ in model.named_parameters()}
    for name, layer in layers.items():
        stage = name.split(".")[1]
        if ".nodes." in name or ".fuse." in name or ".join." in name:
            assert layer in {layers[key] for key in layers if key.startswith(f"stages.{stage}.aggregate.blocks.")}


def test_nodes_by_structure():
    def inputs(structure: str) -> list[int]:
        model = small(structure)
        return [len(m.in_channels) for m in model.modules() if isinstance(m, dla.Node)]

    assert inputs("plain") == []
    assert inputs("iterative") == [2, 2, 2]  # the pooled input and the last block, of stages 4 to 6
    assert inputs("tree") == inputs("reentrant") == [2] * (1 + 3 + 3 + 1)
    assert inputs("merged") == [2, 2, 3, 2, 3, 2]
    assert inputs("dla") == [2, 2, 4, 2, 4, 3]


def test_iterative_joins_a_chain_of_blocks():
    model = small("iterative").eval()
    stage = model.stages[3]
    assert isinstance(stage, Stage)
    x = torch.randn(2, 16, 9, 11)
    out = x
    for block in stage.aggregate.blocks:
        out = block(out)
    pooled = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True)
    torch.testing.assert_close(stage(x), stage.join([pooled, out]), rtol=0, atol=0)


def test_plain_is_a_chain_of_blocks():
    stage = small("plain").eval().stages[4]
    x = out = torch.randn(2, 32, 9, 11)
    for block in stage.aggregate.blocks:
        out = block(out)
    torch.testing.assert_close(stage(x), out, rtol=0, atol=0)


def test_unknown_structure():
    with pytest.raises(ValueError, match="structure must be one of dla, plain"):
        small("figure")


def test_width_multiplies_channels():
    wide = dla.create_model("dla46_c", num_classes=0, width=1.5)
    assert [spec.channels for spec in wide.feature_specs] == [24, 48, 96, 96, 192, 384]
    named = dla.create_model("dla34", num_classes=0)
    assert tuple(spec.channels for spec in named.feature_specs) == VARIANTS["dla34"].channels


def test_width_is_rounded_to_even_numbers():
    odd = dla.create_model("dla34", num_classes=0, width=0.3)
    assert [spec.channels for spec in odd.feature_specs] == [4, 10, 20, 38, 76, 154]


def test_width_that_leaves_nothing():
    with pytest.raises(ValueError, match=r"width 0\.01 leaves nothing of 16 channels"):
        dla.create_model("dla34", width=0.01)
