"""Figure 1 of the paper: its six structures by name, over the same blocks.

plain       (a)  blocks in a chain: no aggregation          `Chain`
skip        (b)  their outputs joined by linear nodes       `Chain` with `SkipAggregation`
iterative   (c)  by one node after another                  `Chain` with `IterativeAggregation`
tree        (d)  in a tree                                  `HierarchicalAggregation`
reentrant   (e)  in a tree whose nodes feed blocks          the same
merged      (f)  in that, nodes of one depth merged         the same
"""

from collections.abc import Sequence

from torch import nn

from dla.aggregation.checks import guarded
from dla.aggregation.hierarchical import STRUCTURES, HierarchicalAggregation
from dla.aggregation.iterative import IterativeAggregation
from dla.aggregation.node import Node, NodeFactory, Value
from dla.aggregation.skip import SkipAggregation, linear_node

FIGURE1 = ("plain", "skip", "iterative", *STRUCTURES)


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
        if self.fuse is None:
            for block in self.blocks:
                x = block(x)
            return x
        outputs = []
        for run in guarded(list(self.blocks)):
            x = run(x)
            outputs.append(x)
        return self.fuse(outputs)


def figure1(
    structure: str, blocks: Sequence[nn.Module], channels: int, *, node: NodeFactory | None = None
) -> nn.Module:
    """One of Figure 1's six structures over the same `blocks`, each of which gives `channels` channels.

    Args:
        structure: "plain" (a), "skip" (b), "iterative" (c), "tree" (d), "reentrant" (e) or "merged" (f).
        blocks: ready modules, in the order in which they run. Except in "plain", all but the first must leave
            their input as it is; see `HierarchicalAggregation`.
        channels: of every block and node.
        node: makes the nodes; None for the linear node of the skips and the non-linear `Node` of the others.
    """
    if structure not in FIGURE1:
        raise ValueError(f"structure must be one of {', '.join(FIGURE1)}, not {structure!r}")
    if not blocks:
        raise ValueError("0 blocks: at least 1 is needed")
    widths = [channels] * len(blocks)
    if structure == "plain":
        return Chain(blocks)
    if structure == "skip":
        return Chain(blocks, SkipAggregation(widths, channels, node=node or linear_node))
    if structure == "iterative":
        return Chain(blocks, IterativeAggregation(widths, channels, node=node or Node))
    return HierarchicalAggregation(blocks, channels, structure=structure, node=node or Node)
