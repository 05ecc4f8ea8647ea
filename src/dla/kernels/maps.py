"""Nodes that concatenate nothing, and pooling that keeps no places of maxima, on a GPU."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from jaxtyping import Float
from torch import Tensor

from dla.kernels import maps_kernel
from dla.kernels.memory import channels_last, power_of_2


class Tiling(NamedTuple):
    """What a program computes at a time: a matrix product of `positions` x `inputs` and `inputs` x `outputs`."""

    positions: int
    inputs: int
    outputs: int


# Of those tried on an H100 the fastest: small ones where large ones are too few for its multiprocessors.
LARGE, SMALL = Tiling(128, 32, 128), Tiling(64, 64, 64)


def combine(
    maps: Sequence[Float[Tensor, "b _ h w"]],
    weight: Float[Tensor, "c n"],
    bias: Float[Tensor, " n"],
    tiling: Tiling | None = None,
) -> Float[Tensor, "b n h w"]:
    """`relu(bias + sum_i maps_i @ weight_i)`: a node that concatenates nothing.

    Args:
        maps: best channels last in memory; others are copied.
        weight: of all maps, one after another.
        bias: of the results.
        tiling: powers of 2 of at least 16; None for what suits the size.
    """
    maps = [x.contiguous(memory_format=torch.channels_last) for x in maps]
    images, _, height, width = maps[0].shape
    n, positions = weight.shape[1], images * height * width
    out = channels_last(maps[0], n, (height, width))
    tiling = tiling or _suited(positions, n, out.device)
    block_n = min(tiling.outputs, power_of_2(n))
    grid = (triton.cdiv(n, block_n) * triton.cdiv(positions, tiling.positions),)  # a second axis ends at 65535
    with torch.cuda.device_of(out):  # not always the current one, on which Triton runs
        maps_kernel.combine[grid](
            tuple(maps), weight, bias, out, positions, channels=tuple(x.shape[1] for x in maps), n=n,
            block=tiling.positions, block_k=tiling.inputs, block_n=block_n, stages=4, num_warps=4,
        )  # fmt: skip
    return out


def _suited(positions: int, outputs: int, device: torch.device) -> Tiling:
    programs = triton.cdiv(positions, LARGE.positions) * triton.cdiv(outputs, LARGE.outputs)
    return LARGE if programs >= torch.cuda.get_device_properties(device).multi_processor_count else SMALL


def pool(x: Float[Tensor, "b c h w"], block: int = 1024) -> Float[Tensor, "b c _ _"]:
    """Max pooling of 2x2 by stride 2, sizes rounded up; of a map best channels last in memory."""
    x = x.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = x.shape
    sides = (height + 1) // 2, (width + 1) // 2
    out = channels_last(x, channels, sides)
    grid = (triton.cdiv(out.numel(), block),)
    with torch.cuda.device_of(out):
        maps_kernel.pool[grid](x, out, out.numel(), height, width, *sides, channels=channels, block=block)
    return out
