"""Nodes for tokens, and nodes that begin as the identity: their equations, re-computed."""

import pytest
import torch
from torch import nn

from dla import HierarchicalAggregation, TokenNode
from dla.aggregation import IdentityNode


@pytest.mark.parametrize("residual", [False, True])
def test_token_node_is_its_equation(residual):
    node = TokenNode([3, 5], 5, residual=residual)
    nn.init.normal_(node.norm.weight)
    nn.init.normal_(node.norm.bias)
    x1, x2 = torch.randn(2, 7, 3), torch.randn(2, 7, 5)
    w1, w2 = node.linear.weight[:, :3], node.linear.weight[:, 3:]
    mixed = torch.einsum("oi,bli->blo", w1, x1) + torch.einsum("oi,bli->blo", w2, x2)
    deviation = mixed.var(dim=-1, correction=0, keepdim=True).add(node.norm.eps).sqrt()
    normed = (mixed - mixed.mean(dim=-1, keepdim=True)) / deviation * node.norm.weight + node.norm.bias
    expected = nn.functional.gelu(normed + x2 if residual else normed)
    torch.testing.assert_close(node([x1, x2]), expected, rtol=1e-5, atol=1e-5)


def test_token_node_takes_maps_with_channels_last():
    node = TokenNode([3, 5], 6)
    x1, x2 = torch.randn(2, 4, 7, 3), torch.randn(2, 4, 7, 5)
    flat = node([x1.flatten(1, 2), x2.flatten(1, 2)])
    torch.testing.assert_close(node([x1, x2]).flatten(1, 2), flat, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("signed", [False, True])
def test_identity_node_is_its_equation(signed, width):
    node = IdentityNode([4, 5, 6], 6, signed=signed, width=width).eval()
    *earlier, x = torch.randn(2, 4, 5, 5), torch.randn(2, 5, 5, 5), torch.randn(2, 6, 5, 5).relu()
    torch.testing.assert_close(node([*earlier, x]), x, rtol=0, atol=0)
    for parameter in (node.norm.weight, node.norm.bias, node.norm.running_mean):
        nn.init.normal_(parameter)
    node.norm.running_var.uniform_(0.5, 2)
    weight = node.mix[0].weight[:, :, 0, 0]
    weight = weight if width is None else node.mix[1].weight[:, :, 0, 0] @ weight
    mixed = torch.einsum("oi,bihw->bohw", weight, torch.cat([*earlier, x], dim=1))
    scale = (node.norm.weight / (node.norm.running_var + node.norm.eps).sqrt())[:, None, None]
    normed = (mixed - node.norm.running_mean[:, None, None]) * scale + node.norm.bias[:, None, None]
    if signed:
        nn.init.normal_(node.gain)
        expected = x + torch.einsum("c,bchw->bchw", node.gain, normed.relu())
    else:
        expected = (x + normed).relu()
    torch.testing.assert_close(node([*earlier, x]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("structure", ["tree", "reentrant", "merged"])
def test_a_tree_of_identity_nodes_begins_as_the_chain_of_its_blocks(structure):
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()) for _ in range(7)]
    model = HierarchicalAggregation(blocks, 8, structure=structure, node=IdentityNode)
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(model(x), nn.Sequential(*blocks)(x), rtol=0, atol=0)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="must have 6 channels, not 4"):
        TokenNode([6, 4], 6, residual=True)
    with pytest.raises(ValueError, match="adds its last input, so that must have 6 channels, not 4"):
        IdentityNode([3, 6, 4], 6)


def test_an_identity_node_is_for_blocks_that_end_in_the_activation_unless_said_otherwise():
    assert IdentityNode([4, 4], 4).gain is None
