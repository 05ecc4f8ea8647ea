"""What deep aggregation is compared with: no aggregation and shallow skips (Figure 1a and 1b), and all six by name."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from dla.aggregation.checks import keeping
from dla.aggregation.hierarchical import STRUCTURES, HierarchicalAggregation
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


class Chain(nn.Module):
    """Blocks one after another; `fuse` takes the list of their outputs; without it the last output is all (1a).

    With `fuse`, all blocks but the first must leave their input as it is; see `HierarchicalAggregation`.
    """

    def __init__(self, blocks: Sequence[nn.Module], fuse: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.fuse = fuse

    def forward(self, x: Value) -> Value:
        """Run the blocks over `x`."""
        outputs = []
        blocks = list(self.blocks)
        for block in keeping(blocks) if self.fuse else blocks:
            x = block(x)
            outputs.append(x)
        return self.fuse(outputs) if self.fuse else x


def figure1(
    structure: str, blocks: Sequence[nn.Module], channels: int, *, node: NodeFactory | None = None
) -> nn.Module:
    """One of Figure 1's six structures over the same `blocks`, each of which gives `channels` channels.

    Args:
        structure: "plain" (a), "skip" (b), "iterative" (c), "tree" (d), "reentrant" (e) or "merged" (f).
        blocks: ready modules, in the order in which they run. But in "plain" all except the first must leave their
            input as it is; see `HierarchicalAggregation`.
        channels: of every block and node.
        node: makes the nodes; None for the linear node of the skips and the non-linear `Node` of the others.
    """
    if structure in STRUCTURES:
        return HierarchicalAggregation(blocks, channels, structure=structure, node=node or Node)
    if not blocks:
        raise ValueError("0 blocks: at least 1 is needed")
    widths = [channels] * len(blocks)
    fuse: dict[str, Callable[[], nn.Module | None]] = {
        "plain": lambda: None,
        "skip": lambda: SkipAggregation(widths, channels, node=node or linear_node),
        "iterative": lambda: IterativeAggregation(widths, channels, node=node or Node),
    }
    if structure not in fuse:
        raise ValueError(f"structure must be one of {[*fuse, *STRUCTURES]}, not {structure!r}")
    return Chain(blocks, fuse[structure]())
