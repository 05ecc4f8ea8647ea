"""Gradient checkpointing: the same gradients and running statistics, and less kept for the backward pass."""

import pytest
import torch
from kept_bytes import kept_bytes
from torch import nn

import dla
from dla.recompute.checkpointing import checkpointed

NETWORKS = {
    "classifier": ("dla46_c", {}),
    "dropped paths": ("dla46_c", {"drop_path_rate": 0.5, "drop_rate": 0.5}),
    "dilated": ("dla46_c", {"output_stride": 8}),
    "group norm": ("dla46_c", {"norm_layer": "groupnorm"}),
    "sync batch norm": ("dla46_c", {"norm_layer": "syncbatchnorm"}),
    "dla-up": ("dla46_cup", {}),
    "dla-up, dilated": ("dla46_cup", {"output_stride": 8}),
    "ida": ("dla46_cida", {}),
    "timm's resnet": ("test_resnet+ida", {"out_channels": 8}),
    "timm's efficientnet, dropped paths": ("test_efficientnet+fpn", {"out_channels": 8, "drop_path_rate": 0.5}),
    "timm's convnext": ("test_convnext+unet", {"out_channels": 8}),
    "list of maps": ("dla46_c", {"features_only": True}),
    "detector": ("dla34_centernet", {"heads": {"hm": 2, "wh": 2}, "head_channels": 8}),
}


def run(model, x):
    """Two steps' worth of gradients, after which the statistics have moved twice."""
    for _ in range(2):
        out = model(x)
        maps = list(out.values()) if isinstance(out, dict) else out if isinstance(out, list) else [out]
        sum(m.square().mean() for m in maps).backward()


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_and_statistics_are_the_same(kind):
    name, options = NETWORKS[kind]
    if options.keys().isdisjoint({"features_only", "heads"}):
        options = {**options, "num_classes": 3}
    plain, frugal = (dla.create_model(name, **options).double() for _ in range(2))
    frugal.load_state_dict(plain.state_dict())
    frugal.set_grad_checkpointing()
    x = torch.randn(2, 3, 33, 47, dtype=torch.float64)
    for model in (plain, frugal):
        torch.manual_seed(0)
        run(model, x)
    for (key, a), b in zip(plain.named_parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)
    for (key, a), b in zip(plain.named_buffers(), frugal.buffers(), strict=True):
        assert torch.equal(a, b), key
    counted = [b for key, b in frugal.named_buffers() if key.endswith("num_batches_tracked")]
    assert all(count == 2 for count in counted)


def apart(model, x):
    """A backward pass for each map, all through one graph."""
    maps = list(model(x).values())
    for m in maps:
        m.square().mean().backward(retain_graph=m is not maps[-1])


def penalised(model, x):
    """The gradient of a gradient, as in penalties on what the network makes of its images."""
    x = x.clone().requires_grad_()
    loss = sum(m.square().mean() for m in model(x).values())
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    (loss + gradient.square().sum()).backward()


@pytest.mark.parametrize("step", [apart, penalised])
def test_the_backward_pass_may_come_more_than_once(step):
    options = {"heads": {"hm": 2, "wh": 2}, "head_channels": 8, "decoder": "plain"}
    plain, frugal = (dla.create_model("dla34_centernet", **options).double() for _ in range(2))
    frugal.load_state_dict(plain.state_dict())
    frugal.set_grad_checkpointing()
    x = torch.randn(2, 3, 33, 47, dtype=torch.float64)
    for model in (plain, frugal):
        model.set_memory_efficient(False)
        step(model, x)
    for (key, a), b in zip(plain.named_parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)
    for (key, a), b in zip(plain.named_buffers(), frugal.buffers(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", ["dla34", "dla46_cup", "dla46_cida"])
def test_less_is_kept(name):
    model = dla.create_model(name, num_classes=3)
    x = torch.randn(1, 3, 64, 64)
    plain = kept_bytes(model, x)
    model.set_grad_checkpointing()
    assert kept_bytes(model, x) < 0.6 * plain
    model.set_grad_checkpointing(False)
    assert kept_bytes(model, x) > 0.9 * plain


def test_several_inputs():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, maps, factor):
            return [self.norm(x) * factor for x in maps]

    pair = Pair()
    maps = [torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2)]
    sum(x.square().sum() for x in checkpointed(pair, maps, 2.0)).backward()
    assert pair.norm.num_batches_tracked == 2  # once for each map, and not again in the backward pass
    assert all(x.grad is not None for x in maps)
