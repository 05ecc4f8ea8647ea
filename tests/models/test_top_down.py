"""FCN, FPN and U-Net against plain re-computations from their weights, and what tells them apart from aggregation."""

import pytest
import torch
import torch.nn.functional as F
from disturbed import disturb
from foreign import upsampled

from dla.backbones import FeatureSpec
from dla.models import FCN, FPN, IDA, DLAUp, UNet

SPECS = [FeatureSpec(6, 4), FeatureSpec(8, 8), FeatureSpec(12, 32)]
SIZES = [(9, 13), (5, 7), (2, 2)]
NEIGHBOURS = [FCN, FPN, UNet]


def maps(batch=2):
    return [torch.randn(batch, channels, *size) for (channels, _), size in zip(SPECS, SIZES, strict=True)]


def norm(state, key, x):
    mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
    x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return x * state[f"{key}.weight"][:, None, None] + state[f"{key}.bias"][:, None, None]


def lateral(kind, state, i, x):
    if kind is FCN:
        return F.conv2d(x, state[f"laterals.{i}.weight"])
    if kind is FPN:
        return norm(state, f"laterals.{i}.1", F.conv2d(x, state[f"laterals.{i}.0.weight"]))
    projected = f"laterals.{i}.0.0.weight"
    return norm(state, f"laterals.{i}.0.1", F.conv2d(x, state[projected])).relu() if projected in state else x


def joined(kind, state, i, fine, coarse):
    if kind is FCN:
        return fine + coarse
    if kind is FPN:
        smooth = F.conv2d(fine + coarse, state[f"nodes.{i}.layer.0.weight"], padding=1)
        return norm(state, f"nodes.{i}.layer.1", smooth).relu()
    mixed = F.conv2d(torch.cat([fine, coarse], 1), state[f"nodes.{i}.conv.weight"], padding=1)
    return norm(state, f"nodes.{i}.norm", mixed).relu()


@pytest.mark.parametrize("kind", NEIGHBOURS)
@torch.no_grad()
def test_parity_with_a_plain_recomputation(kind):
    torch.manual_seed(0)
    decoder = disturb(kind(SPECS, channels=8, out_stride=2))
    state, given = decoder.state_dict(), maps()
    x1, x2, x3 = (lateral(kind, state, i, x) for i, x in enumerate(given))
    second = joined(kind, state, 0, x2, upsampled(x3, state["upsample.0.conv.weight"])[..., :5, :7])
    third = joined(kind, state, 1, x1, upsampled(second, state["upsample.1.conv.weight"])[..., :9, :13])
    out = upsampled(third, state["refine.conv.weight"])[..., :17, :25]
    steps = decoder(given, (17, 25))
    for step, expected in zip(steps, [x3, second, out], strict=True):
        torch.testing.assert_close(step, expected)


@pytest.mark.parametrize("kind", [*NEIGHBOURS, IDA, DLAUp])
def test_every_parameter_gets_a_gradient_and_steps_are_as_said(kind):
    decoder = disturb(kind(SPECS, channels=8, out_stride=2))
    steps = decoder(maps(), (18, 26))
    strides = [spec.stride for spec in decoder.step_specs]
    assert strides == [2, 2, 2] if kind is IDA else [32, 8, 2]
    assert all(step.shape[1] == 8 for step in steps)
    assert steps[-1].shape[2:] == (18, 26)
    steps[-1].square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@torch.no_grad()
def test_fcn_alone_is_linear():
    a, b = ([x.double() for x in maps()] for _ in range(2))
    both = [2 * x - y for x, y in zip(a, b, strict=True)]
    for kind in (FCN, FPN, UNet, IDA, DLAUp):
        decoder = disturb(kind(SPECS, channels=8, out_stride=4)).double()
        of_a, of_b, of_both = (decoder(xs, (9, 13))[-1] for xs in (a, b, both))
        assert torch.allclose(of_both, 2 * of_a - of_b) == (kind is FCN)


@torch.no_grad()
def test_the_order_of_aggregation():
    """The finest map meets one node in a top-down path, and every node in IDA (Section 3.1 of the paper)."""
    given = maps()
    other = [torch.randn_like(given[0]), *given[1:]]
    changed = {}
    for kind in (UNet, IDA):
        decoder = disturb(kind(SPECS, channels=8, out_stride=4))
        pairs = zip(decoder(given, (9, 13)), decoder(other, (9, 13)), strict=True)
        changed[kind] = [not torch.equal(x, y) for x, y in pairs]
    assert changed == {UNet: [False, False, True], IDA: [True, True, True]}


@torch.no_grad()
def test_dla_up_projects_to_one_width_where_asked():
    own, even = DLAUp(SPECS), DLAUp(SPECS, channels=8, out_stride=2)
    assert own.step_specs == [(12, 32), (8, 8), (6, 4)]
    assert even.step_specs == [(8, 32), (8, 8), (8, 2)]
    assert not any(key.startswith(("project", "refine")) for key in own.state_dict())
    assert own.eval()(maps(), (9, 13))[-1].shape == (2, 6, 9, 13)
    assert even.eval()(maps(), (18, 26))[-1].shape == (2, 8, 18, 26)


@pytest.mark.parametrize("kind", NEIGHBOURS)
def test_lists_that_are_passed_stay_as_they_are(kind):
    specs = list(SPECS)
    kind(specs)
    assert specs == SPECS
