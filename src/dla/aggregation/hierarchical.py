"""Hierarchical deep aggregation: fuse blocks in a tree (Figure 1d, 1e, 1f; Equations 2 and 3).

Four blocks (B) under each structure; a node (N, or r where it feeds the next block) sums up what hangs below it:

    tree               re-entrant          merged
         N                   N                   N
       ┌─┴─┐              ┌──┴──┐             ┌──┴─┬─┐
       N   N              r     N             r    │ │
      ┌┴┐ ┌┴┐            ┌┴┐   ┌┴┐           ┌┴┐   │ │
    x─B─B─B─B          x─B─B r─B─B         x─B─B r─B─B

In the tree, blocks feed blocks and nodes feed nodes alone. Re-entrant, the first half's node feeds the second half.
Merged, the last node also absorbs the node of the half that runs second.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.fx import Proxy

from dla.aggregation.checks import Block, guarded
from dla.aggregation.node import Node, NodeFactory, Value

Fuse = Callable[[Sequence[Any]], Any]


def half(count: int) -> int:
    """The largest power of two below `count`: where a tree of `count` > 1 blocks splits. 4 -> 2, 6 -> 4, 3 -> 2."""
    return 1 << (count - 1).bit_length() - 1


def parts(count: int) -> list[int]:
    """Sizes of the sub-trees under a merged node over `count` blocks. 8 -> [4, 2, 1, 1], 23 -> [16, 4, 2, 1]."""
    return [1] if count == 1 else [half(count), *parts(count - half(count))]


def tree(x: Any, blocks: Sequence[Block], nodes: Sequence[Fuse]) -> tuple[Any, Any]:
    """`D(x)`: the node over all `blocks`, and the last block's output, which feeds the next block (1d)."""
    if len(blocks) == 1:
        return (out := blocks[0](x)), out
    n = half(len(blocks))
    left, last = tree(x, blocks[:n], nodes[: n - 1])
    right, last = tree(last, blocks[n:], nodes[n - 1 : -1])
    return nodes[-1]([left, right]), last


def reentrant(x: Any, blocks: Sequence[Block], nodes: Sequence[Fuse]) -> Any:
    """`E(x) = N(r, E(r)), r = E(x)`: the first half's node is what the second half reads (1e)."""
    if len(blocks) == 1:
        return blocks[0](x)
    n = half(len(blocks))
    first = reentrant(x, blocks[:n], nodes[: n - 1])
    second = reentrant(first, blocks[n:], nodes[n - 1 : -1])
    return nodes[-1]([first, second])


def merged(x: Any, blocks: Sequence[Block], nodes: Sequence[Fuse]) -> Any:
    """`T(x) = N(R_{n-1}, ..., R_1, L_1, L_2)`: nodes of one depth become one (1f)."""
    if len(blocks) == 1:
        return blocks[0](x)
    children = []
    for size in parts(len(blocks)):
        inner = size // 2  # nodes of a sub-tree over a power of two
        x = merged(x, blocks[:size], nodes[:inner])
        children.append(x)
        blocks, nodes = blocks[size:], nodes[inner:]
    return nodes[-1](children)


def fan_in(structure: str, count: int) -> list[int]:
    """Inputs of each node over `count` blocks, in the order in which the nodes run."""
    if structure != "merged":
        return [2] * (count - 1)
    if count == 1:
        return []
    return [n for size in parts(count) for n in fan_in("merged", size)] + [len(parts(count))]


def joining(x: Any, nodes: Sequence[Fuse]) -> list[Fuse]:
    """`nodes`, of which the last takes `x` before its other inputs, as iterative aggregation joins it (Figure 2)."""
    *inner, last = nodes
    return [*inner, lambda inputs: last([x, *inputs])]


STRUCTURES: dict[str, Callable[[Any, Sequence[Block], Sequence[Fuse]], Any]] = {
    "tree": lambda x, blocks, nodes: tree(x, blocks, nodes)[0],
    "reentrant": reentrant,
    "merged": merged,
}


class HierarchicalAggregation(nn.Module):
    """Run blocks one after another and aggregate their outputs in a tree.

    A count that is not a power of two splits at the largest power below it, 6 = 4 + 2; one block alone has no node.

    Args:
        blocks: any number of ready modules, in the order in which they run; each gives `channels` channels. All but
            the first must leave their input as it is, since nodes read it too: a block that begins with an activation
            in place is refused when it runs (but not under `torch.inference_mode`, nor compiled).
        channels: of every block and node.
        structure: "tree" (1d), "reentrant" (1e) or "merged" (1f, what the DLA networks are made of).
        join_channels: channels of the map that joins the last node when iterative aggregation joins the stage
            (Figure 2); None where nothing joins. Needs at least two blocks.
        node: makes a node from its input channels and output channels.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        channels: int,
        *,
        structure: str = "merged",
        join_channels: int | None = None,
        node: NodeFactory = Node,
    ) -> None:
        super().__init__()
        if structure not in STRUCTURES:
            raise ValueError(f"structure must be one of {', '.join(STRUCTURES)}, not {structure!r}")
        if not blocks or (join_channels is not None and len(blocks) < 2):
            raise ValueError(f"{len(blocks)} blocks: at least 1 is needed, and 2 where a map joins the last node")
        self.structure = structure
        self.join_channels = join_channels
        self.blocks = nn.ModuleList(blocks)
        inputs = [[channels] * n for n in fan_in(structure, len(blocks))]
        if join_channels is not None:
            inputs[-1].insert(0, join_channels)
        self.nodes = nn.ModuleList(node(in_channels, channels) for in_channels in inputs)

    def forward(self, x: Value, joined: Value | None = None) -> Value:
        """Aggregate the blocks over `x`; `joined`, a map of the result's size, is the last node's first input."""
        if self.join_channels is None and isinstance(joined, Proxy):
            joined = None  # torch.fx gives what it traces a proxy for each parameter, also where that has a default
        if (joined is None) != (self.join_channels is None):
            raise ValueError(
                f"join_channels={self.join_channels} and joined={joined if joined is None else 'a map'} disagree"
            )
        blocks = guarded(list(self.blocks), first_too=joined is x)
        nodes: list[Fuse] = list(self.nodes)
        return STRUCTURES[self.structure](x, blocks, nodes if joined is None else joining(joined, nodes))
