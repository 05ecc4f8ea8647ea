"""Shallow skips: every map joined by linear nodes, the coarsest first (Figure 1b)."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from dla.aggregation.iterative import IterativeAggregation
from dla.aggregation.node import Node, NodeFactory, Value

linear_node: NodeFactory = partial(Node, norm=None, activation=None)


class SkipAggregation(nn.Module):
    """`S(x1) = x1; S(x1, ..., xn) = A(S(x2, ..., xn), x1)` with A linear: shallow, though it joins many layers.

        x4 ──┐
        x3 ──A──┐
        x2 ─────A──┐
        x1 ────────A──> out

    The shallowest map is aggregated least: it meets one linear node, on the way out.

    Args:
        in_channels: channels of each map, finest first.
        out_channels: channels after every node.
        node: makes a node from its input channels and output channels.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, *, node: NodeFactory = linear_node) -> None:
        super().__init__()
        self.backwards = IterativeAggregation(in_channels[::-1], out_channels, node=node)

    def forward(self, maps: Sequence[Value]) -> Value:
        """Fuse `maps`, each (b, c_i, h, w), finest first, into one."""
        return self.backwards(maps[::-1])
