"""A stage of a trained network: its own blocks in a merged tree (Figure 1f), joined to the stage before (Figure 2)."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dla.aggregation.hierarchical import fan_in, merged
from dla.recompute.checkpointing import checkpointed


class StageSpec(NamedTuple):
    """Where a stage's blocks lie in a network, and what the tree over them has to know."""

    name: str  # of the stage
    entry: str | None  # what runs in the stage before its blocks
    blocks: tuple[str, ...]  # in the order in which they run
    channels: int  # of each block's output
    tree: bool  # nodes aggregate the blocks
    joined: int | None  # channels of the stage's input where it enters the last node
    stride: int

    def node_inputs(self) -> list[list[int]]:
        """Channels of the inputs of each node, in the order in which the nodes run."""
        fans = fan_in("merged", len(self.blocks)) if self.tree else []
        inputs = [[self.channels] * n for n in fans]
        if self.joined is None:
            return inputs
        *inner, last = inputs or [[self.channels]]
        return [*inner, [self.joined, *last]]


class RewiredStage(nn.Module):
    """The blocks of `stage` with `nodes` over them; the names of the stage's own parameters stay.

    So a state dict has the plain network's keys and some under `nodes`, and timm's patterns for layer decay match.
    """

    def __init__(self, stage: nn.Module, spec: StageSpec, nodes: nn.ModuleList) -> None:
        super().__init__()
        for name, child in stage.named_children():
            self.add_module(name, child)
        self.spec = spec
        self.nodes = nodes
        pools = spec.joined is not None and spec.stride > 1
        ceil = spec.entry is None  # what enters ConvNeXt's stages rounds sizes down; strided blocks mostly round up
        self.pool = nn.MaxPool2d(spec.stride, ceil_mode=ceil) if pools else nn.Identity()
        self.grad_checkpointing = False
        self.training = stage.training  # not train(): a batch norm that was frozen stays so
        self.nodes.train(stage.training)
        self.pool.train(stage.training)

    def __iter__(self) -> Iterator[nn.Module]:
        # For gradient checkpointing, timm runs what a stage of ResNet iterates over, one after another. This has to be
        # the whole: the blocks alone would leave out the nodes.
        return iter([self])

    def forward(self, x: Tensor) -> Tensor:
        """(b, c_in, h, w) -> (b, channels, h / stride, w / stride), odd sizes rounded as by the plain stage."""
        blocks: list[Any] = [self.get_submodule(name) for name in self.spec.blocks]
        nodes: list[Any] = list(self.nodes)
        if self.grad_checkpointing and torch.is_grad_enabled():
            blocks = [partial(checkpointed, block) for block in blocks]
        if self.spec.joined is not None:
            nodes = _joining(self.pool(x), nodes)
        if self.spec.entry is not None:
            x = self.get_submodule(self.spec.entry)(x)
        if self.spec.tree and len(blocks) > 1:
            return merged(x, blocks, nodes)
        for block in blocks:
            x = block(x)
        return nodes[-1]([x])


def _joining(pooled: Tensor, nodes: list[Any]) -> list[Any]:
    """`nodes`, of which the last takes the pooled input first, cropped where the stage rounds sizes down."""
    *inner, last = nodes

    def joined(inputs: list[Tensor]) -> Tensor:
        height, width = inputs[-1].shape[-2:]
        return last([pooled[..., :height, :width], *inputs])

    return [*inner, joined]
