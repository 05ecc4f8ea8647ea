"""A stage: blocks of one resolution in a merged tree, joined to the stages before it (Figures 2 and 3)."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from dla.aggregation import HierarchicalAggregation, Node
from dla.models.blocks import BlockFactory, pool


class Stage(nn.Module):
    """2**`depth` blocks; the first has the stride and brings its own pooled and projected shortcut.

    Args:
        block: makes a block from input channels, output channels and stride.
        depth: of the tree.
        in_channels: of the stage before.
        out_channels: of every block and node.
        stride: of the first block.
        residual: nodes add their last input.
        join: the pooled input enters the last node, which iterative aggregation shares with this tree (Figure 2).
        dilation: of the blocks' 3x3 convolutions but the very first.
        first_dilation: of that one, and of the pooling; smaller where dilation takes the place of the stage's stride.
        drop_paths: stochastic depth of each block.
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
    ) -> None:
        super().__init__()
        inputs = [(in_channels, stride, first_dilation)] + [(out_channels, 1, dilation)] * (2**depth - 1)
        blocks = [
            block(channels, out_channels, step, dilation=dilation, first_dilation=first, drop_path=drop_path)
            for (channels, step, first), drop_path in zip(inputs, drop_paths, strict=True)
        ]
        self.pool = pool(stride, dilation, first_dilation) if join else None
        self.aggregate = HierarchicalAggregation(
            blocks, out_channels, join_channels=in_channels if join else None, node=partial(Node, residual=residual)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, ceil(h / stride), ceil(w / stride))."""
        return self.aggregate(x, self.pool(x) if self.pool is not None else None)
