"""A stage: blocks of one resolution in a merged tree, joined to the stages before it (Figures 2 and 3)."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from dla.aggregation import FIGURE1, HierarchicalAggregation, Node, figure1
from dla.models.blocks import BlockFactory, Pooled, pool

STRUCTURES = ("dla", *FIGURE1)
"""How a network's blocks are aggregated: as in the paper's networks, or as in one of the six pictures of Figure 1."""


class Stage(nn.Module):
    """2**`depth` blocks; the first has the stride and brings its own pooled and projected shortcut.

        dla         merged tree, in whose last node the pooled input of stages 4 to 6 joins (Figure 2)
        iterative   blocks in a chain, and a node over that pooled input and the last block
        others      the blocks in that structure of Figure 1; nothing joins the stages

    Args:
        block: makes a block from input channels, output channels and stride.
        depth: of the tree.
        in_channels: of the stage before.
        out_channels: of every block and node.
        stride: of the first block.
        residual: nodes add their last input.
        join: whether iterative aggregation joins this stage to the one before, where the structure has that.
        dilation: of the blocks' 3x3 convolutions but the very first.
        first_dilation: of that one, and of the pooling; smaller where dilation takes the place of the stage's stride.
        drop_paths: stochastic depth of each block.
        structure: one of `STRUCTURES`.
    """

    def __init__(
        self,
        block: BlockFactory,
        depth: int,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        residual: bool,
        join: bool,
        dilation: int,
        first_dilation: int,
        drop_paths: Sequence[float],
        structure: str = "dla",
    ) -> None:
        super().__init__()
        inputs = [(in_channels, stride, first_dilation)] + [(out_channels, 1, dilation)] * (2**depth - 1)
        blocks = [
            block(channels, out_channels, step, dilation=dilation, first_dilation=first, drop_path=drop_path)
            for (channels, step, first), drop_path in zip(inputs, drop_paths, strict=True)
        ]
        node = partial(Node, residual=residual)
        join = join and structure in ("dla", "iterative")
        self.pool = pool(stride, dilation, first_dilation) if join else None
        self.join: nn.Module | None = None
        if structure == "dla":
            join_channels = in_channels if join else None
            self.aggregate: nn.Module = HierarchicalAggregation(
                blocks, out_channels, join_channels=join_channels, node=node
            )
        else:
            inner = "plain" if structure == "iterative" else structure
            self.aggregate = figure1(inner, blocks, out_channels, node=None if inner in ("plain", "skip") else node)
            self.join = node([in_channels, out_channels], out_channels) if join else None

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, ceil(h / stride), ceil(w / stride))."""
        if self.pool is None:
            return self.aggregate(x)
        source = Pooled(x, self.pool(x))  # the first block needs both, too
        if self.join is None:
            return self.aggregate(source, source.pooled)
        return self.join([source.pooled, self.aggregate(source)])
