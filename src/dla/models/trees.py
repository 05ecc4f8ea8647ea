"""Stages 3 to 6, each a tree, and where the maps of all six lie on the image."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from dla.models.blocks import BlockFactory
from dla.models.stage import Stage


class Grid(NamedTuple):
    """Where a stage's map lies.

    Attributes:
        stride: pixels of the image from one position of the map to the next.
        dilation: positions of the map that make one of the map at the full stride, where dilation takes its place.
    """

    stride: int
    dilation: int


def make_grids(stem_stride: int, output_stride: int) -> list[Grid]:
    """Of the six stages, of which the third has `stem_stride`; each doubles it, up to `output_stride`."""
    full = [max(1, 2**i * stem_stride // 4) for i in range(6)]
    return [Grid(stride, whole // stride) for whole in full for stride in [min(whole, output_stride)]]


def make_trees(
    block: BlockFactory,
    depths: Sequence[int],
    channels: Sequence[int],
    grids: Sequence[Grid],
    drop_path_rate: float,
    residual: bool,
    structure: str,
) -> Iterator[Stage]:
    """A stage for each of `depths`; `channels` and `grids` begin with those of the stage before."""
    drop_paths = _rising(drop_path_rate, [2**n for n in depths])
    steps = zip(depths, pairwise(channels), pairwise(grids), drop_paths, strict=True)
    for i, (depth, (in_channels, out_channels), (before, grid), rates) in enumerate(steps):
        yield Stage(
            block,
            depth,
            in_channels,
            out_channels,
            stride=grid.stride // before.stride,
            residual=residual,
            join=i > 0,
            dilation=grid.dilation,
            first_dilation=before.dilation,
            drop_paths=rates,
            structure=structure,
        )


def _rising(rate: float, counts: Sequence[int]) -> list[list[float]]:
    """Rates from 0 at the first block to `rate` at the last, in groups of `counts`."""
    last = sum(counts) - 1
    return [[rate * (sum(counts[:i]) + j) / last for j in range(count)] for i, count in enumerate(counts)]
