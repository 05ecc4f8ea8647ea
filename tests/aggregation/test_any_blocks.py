"""Hierarchical aggregation over blocks of others: ConvNeXt's, inverted residuals, transformer blocks."""

from functools import partial

import pytest
import torch
from disturbed import randomise
from symbolic import Equations, evaluate
from timm.layers import LayerNorm2d
from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.convnext import ConvNeXtBlock
from timm.models.vision_transformer import Block
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual as TorchvisionInvertedResidual

from dla import HierarchicalAggregation, Node, TokenNode

MAP, TOKENS = (4, 16, 9, 7), (4, 12, 16)
CASES = {
    "convnext": (
        partial(ConvNeXtBlock, 16, ls_init_value=0.5),
        partial(Node, norm=LayerNorm2d, activation=nn.GELU),
        MAP,
    ),
    "inverted residual of timm": (partial(InvertedResidual, 16, 16, exp_ratio=4.0), Node, MAP),
    "inverted residual of torchvision": (partial(TorchvisionInvertedResidual, 16, 16, 1, 4), Node, MAP),
    "transformer of timm": (partial(Block, 16, num_heads=2), TokenNode, TOKENS),
    "transformer of torch": (
        partial(nn.TransformerEncoderLayer, 16, 2, 32, dropout=0.0, batch_first=True),
        partial(TokenNode, residual=True),
        TOKENS,
    ),
}


def build(case, count, structure="merged"):
    block, node, shape = CASES[case]
    return HierarchicalAggregation([block() for _ in range(count)], 16, structure=structure, node=node), shape


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("case", CASES)
def test_merged_is_the_equation_over_real_blocks(case, count):
    model, shape = build(case, count)
    randomise(model)
    x = torch.randn(shape)
    expected = evaluate(Equations().merged_over(count, ("x",)), model.blocks, model.nodes, {("x",): x})
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("structure", ["tree", "reentrant", "merged"])
def test_two_steps_train_every_parameter(case, structure):
    torch.manual_seed(0)
    model, shape = build(case, 4, structure)
    x, target = torch.randn(shape), torch.randn(shape)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(3):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
        losses.append(loss.item())
        if len(losses) < 3:
            optimizer.step()
    assert losses[2] < losses[1] < losses[0]
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, start[name])] == []
