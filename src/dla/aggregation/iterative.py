"""Iterative deep aggregation: fuse scales one after another, from the finest on (Figure 1c)."""

from collections.abc import Sequence

from torch import nn

from dla.aggregation.checks import expect_some
from dla.aggregation.node import Node, NodeFactory, Value


class IterativeAggregation(nn.Module):
    """`I(x1) = x1; I(x1, ..., xn) = I(N(x1, x2), x3, ..., xn)` (Equation 1).

        x1 ──┐
        x2 ──N──┐
        x3 ─────N──┐
        x4 ────────N──> out

    The shallowest map passes through every node, so that it is refined the most. The maps have one size: project and
    upsample them first, as `dla.models.dense` does, or fuse outputs of blocks that keep it.

    Args:
        in_channels: channels of each map, finest first; one map needs no node and is returned as it is.
        out_channels: channels after every node.
        node: makes a node from its input channels and output channels.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, *, node: NodeFactory = Node) -> None:
        super().__init__()
        expect_some(in_channels)
        first, *deeper = in_channels
        fused = [first, *[out_channels] * len(deeper)]  # channels before each node, and behind the last
        self.nodes = nn.ModuleList(node([x, deep], out_channels) for x, deep in zip(fused[:-1], deeper, strict=True))

    def forward(self, maps: Sequence[Value]) -> Value:
        """Fuse `maps`, each (b, c_i, h, w), finest first, into one."""
        return self.steps(maps)[-1]

    def steps(self, maps: Sequence[Value]) -> list[Value]:
        """Like `forward`, with every intermediate: x1, N(x1, x2), N(N(x1, x2), x3), ..., the result."""
        if len(maps) != len(self.nodes) + 1:
            raise ValueError(f"expected {len(self.nodes) + 1} maps, got {len(maps)}")
        fused = [maps[0]]
        for node, deeper in zip(self.nodes, maps[1:], strict=True):
            fused.append(node([fused[-1], deeper]))
        return fused
