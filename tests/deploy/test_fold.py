"""Folding keeps the function, leaves the caller's network alone, and leaves what it does not understand."""

import copy

import pytest
import timm
import torch
from disturbed import disturb, disturbed
from torch import nn
from torch.nn.utils import parametrizations, prune

import dla
from dla.deploy import folded, for_gpu, optimize
from dla.deploy.ncnn_layers import for_ncnn
from dla.deploy.outputs import difference


def norms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm) for m in model.modules())


@pytest.mark.parametrize("name", ["dla34", "dla46_c", "dla46x_c", "dla46_cup", "dla46_cida", "dla34_centernet"])
@torch.no_grad()
def test_no_norm_is_left_and_the_function_is_the_same(name):
    torch.manual_seed(0)
    options = {"decoder": "plain"} if "centernet" in name else {"num_classes": 5}
    model = disturbed(name, **options).double()  # in float64, so that an inexact fold is seen
    x = torch.randn(2, 3, 70, 65, dtype=torch.float64)
    before, after = model(x), folded(model)(x)
    assert norms(folded(model)) == 0
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9 * torch.as_tensor(flat_max(before)).item())


def flat_max(output: torch.Tensor | dict[str, torch.Tensor]) -> float:
    values = output.values() if isinstance(output, dict) else [output]
    return max(float(value.abs().max()) for value in values)


@torch.no_grad()
def test_residual_nodes():
    torch.manual_seed(0)
    node = disturb(dla.Node([4, 6, 8], 8, kernel_size=3, residual=True)).double()
    inputs = [torch.randn(2, channels, 9, 7, dtype=torch.float64) for channels in (4, 6, 8)]
    torch.testing.assert_close(folded(node)(inputs), node(inputs))


def test_the_callers_network_is_not_changed():
    model = disturbed("dla46_c").train()
    before = copy.deepcopy(model.state_dict())
    assert not folded(model).training
    assert model.training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@torch.no_grad()
def test_sync_batch_norm_is_folded_too():
    model = disturbed("dla46_c", norm_layer="syncbatchnorm")
    assert norms(model) > 0
    assert norms(folded(model)) == 0


class Scaled(nn.Conv2d):
    """A convolution whose weights are not what it convolves with."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, 2 * self.weight, self.bias)


ACTIVATION = nn.ReLU()


@pytest.mark.parametrize(
    "pair",
    [
        [nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)],
        [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)],
        [Scaled(3, 4, 3), nn.BatchNorm2d(4)],
        [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)],
        [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)],
        [ACTIVATION, nn.Conv2d(3, 4, 3), ACTIVATION, nn.BatchNorm2d(4)],
    ],
)
@torch.no_grad()
def test_what_cannot_be_folded_stays(pair):
    model = disturb(nn.Sequential(*pair))
    x = torch.randn(2, 3, 9, 7)
    torch.testing.assert_close(folded(model)(x), model(x))
    assert [type(m) for m in folded(model)] == [type(m) for m in pair]


class Twice(nn.Sequential):
    """Takes the middle of the chain, too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = self[0](x)
        return self[1](middle) + middle.relu()


@pytest.mark.parametrize("second", [nn.BatchNorm2d(4), nn.ReLU()])
@torch.no_grad()
def test_a_chain_that_does_more_stays(second):
    model, x = disturb(nn.Sequential(Twice(nn.Conv2d(3, 4, 7, padding=3), second))), torch.randn(2, 3, 9, 7)
    for change in (folded, lambda model: for_gpu(folded(model)), lambda model: for_ncnn(folded(model))):
        torch.testing.assert_close(change(model)(x), model(x))


def pruned() -> nn.Module:
    return prune.l1_unstructured(nn.Conv2d(3, 4, 3), "weight", amount=0.5)


def doubled() -> nn.Module:
    conv = nn.Conv2d(3, 4, 3)
    conv.register_forward_hook(lambda _, inputs, output: 2 * output)
    return conv


def parametrized() -> nn.Module:
    return parametrizations.weight_norm(nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize("make", [pruned, doubled, parametrized])
@pytest.mark.parametrize("called", [False, True])
def test_what_is_computed_by_hooks_stays(make, called):
    """Also before the first call without gradients, until which a pruned weight is no leaf of their graph."""
    model, x = disturb(nn.Sequential(make(), nn.BatchNorm2d(4), nn.ReLU())), torch.randn(2, 3, 9, 7)
    with torch.no_grad():
        expected = model(x) if called else None
    found = for_ncnn(for_gpu(folded(model)))
    with torch.no_grad():
        torch.testing.assert_close(found(x), model(x) if expected is None else expected)
    assert norms(found) == 1


@torch.no_grad()
def test_a_norm_with_a_hook_stays():
    model, x = disturb(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).eval(), torch.randn(2, 3, 9, 7)
    model[1].register_forward_hook(lambda _, inputs, output: 2 * output)
    torch.testing.assert_close(folded(model)(x), model(x))


def test_what_a_network_remembers_of_a_call_is_no_obstacle():
    """timm's LeViT keeps the biases of its attention, through which gradients go."""
    model, x = disturb(timm.create_model("levit_128s", num_classes=3)).eval(), torch.randn(1, 3, 224, 224)
    expected = model(x)
    assert difference([expected.detach()], [optimize(model, example=x)(x)]) < 1e-4


class Filtered(nn.Module):
    """A convolution over images that are taken for a volume."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x[:, None]).mean(2)


@torch.no_grad()
def test_weights_of_five_dimensions_stay_as_they_are():
    model, x = Filtered().eval(), torch.randn(1, 3, 9, 7)
    torch.testing.assert_close(optimize(model, engine="eager", example=x)(x), model(x))


@torch.no_grad()
def test_what_is_pruned_runs_in_16_bits():
    """Where the hooks compute the weights anew, in the type that the images have."""
    model, x = disturbed("dla46_c", num_classes=3), torch.randn(1, 3, 33, 33)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            prune.l1_unstructured(layer, "weight", amount=0.3)
    assert difference([model(x)], [optimize(model, example=x.bfloat16())(x.bfloat16())]) < 5e-2


@torch.no_grad()
def test_padding_by_size_becomes_fixed():
    """With it, an exporter takes minutes for sizes that are symbols."""
    model = disturbed("tf_efficientnet_lite0+ida", num_classes=3).double()
    fixed = folded(model)
    assert any(type(module).__name__ == "Conv2dSame" for module in model.modules())
    assert not any(type(module).__name__ == "Conv2dSame" for module in fixed.modules())
    for size in ((64, 96), (70, 97), (33, 31)):
        x = torch.randn(2, 3, *size, dtype=torch.float64)
        torch.testing.assert_close(fixed(x), model(x), rtol=1e-9, atol=1e-9)
    prune.l1_unstructured(model.backbone.body.model.conv_stem, "weight", amount=0.5)
    assert sum(type(module).__name__ == "Conv2dSame" for module in folded(model).modules()) == 1  # computed by a hook
    alone = timm.create_model("tf_efficientnet_lite0").eval()  # which sees images of any size as they are
    assert any(type(module).__name__ == "Conv2dSame" for module in folded(alone).modules())
