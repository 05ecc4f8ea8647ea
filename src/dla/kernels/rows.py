"""Convolutions of maps with few channels on a GPU, and the gradient of their weights."""

import torch
import triton
from jaxtyping import Float
from torch import Tensor

from dla.kernels import gradient_kernel, rows_kernel
from dla.kernels.memory import channels_last, power_of_2


def convolve(
    image: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "k _ _"],
    bias: Float[Tensor, " _"] | None,
    *,
    channels: int,
    stride: int = 1,
    pixels: int = 2,
    relu: bool = False,
    block: int | None = None,
) -> Float[Tensor, "b n _ _"]:
    """Convolve a map, as `dla.kernels.packing.filled` gives it, with padding of half the window.

    Args:
        image: its channels are a power of 2.
        weight: as `dla.kernels.packing.packed` gives it.
        bias: of all columns of `weight`, or None.
        channels: of the result.
        stride: 1 or 2; above 1 with `pixels` of 1.
        pixels: neighbouring positions that are computed together.
        relu: apply ReLU.
        block: positions, or groups of them, of a program, a power of 2; None for what was fastest on an H100.
    """
    images, step, height, width = image.shape
    window, k, n = weight.shape
    block = block or (64 if window == 3 else 128)
    sides = [(side - 1) // stride + 1 for side in (height, width)]
    out = channels_last(image, channels, sides)
    groups = (sides[1] + pixels - 1 + window // 2 % pixels) // pixels
    grid = (triton.cdiv(images * sides[0] * groups, block),)
    with torch.cuda.device_of(image):  # not always the current one, on which Triton runs
        rows_kernel.convolve[grid](
            image, weight, bias, out, images, height, width, *sides, channels,
            window=window, stride=stride, pixels=pixels, step=step, row_inputs=(window + pixels - 1) * step, k=k, n=n,
            relu=relu, block=block, stages=2, num_warps=4 if block * n <= 2048 else 8,
        )  # fmt: skip
    return out


def weight_gradient(
    image: Float[Tensor, "b c h w"],
    gradient: Float[Tensor, "b n h w"],
    *,
    window: int,
    pixels: int = 2,
    block: int = 64,
    programs: int | None = None,
) -> Float[Tensor, "k _ _"]:
    """Gradient, in float32, of the packed weight of a convolution of stride 1; the same at every call.

    Args:
        image: what was convolved, as for `convolve`.
        gradient: of the result, channels last in memory.
        window: of the convolution.
        pixels: neighbouring positions that are computed together.
        block: groups of positions, all of one row, in a matrix product; a power of 2 of at least 16.
        programs: partial sums; None for two of each multiprocessor.
    """
    images, step, height, width = image.shape
    channels, row_inputs = gradient.shape[1], (window + pixels - 1) * step
    rows_filled, k, n = triton.next_power_of_2(window), power_of_2(row_inputs), power_of_2(pixels * channels)
    if programs is None:
        programs = 2 * torch.cuda.get_device_properties(image.device).multi_processor_count
    partial = torch.empty((programs, rows_filled * k, n), dtype=torch.float32, device=image.device)
    with torch.cuda.device_of(image):
        gradient_kernel.weight_gradient[(programs,)](
            image, gradient, partial, images, height, width, channels=channels, window=window, pixels=pixels, step=step,
            row_inputs=row_inputs, rows=rows_filled, k=k, n=n, block=block, stages=3,
            num_warps=8 if n > 64 else 4,  # as many as hold the sum in registers
        )  # fmt: skip
    return partial.sum(0).view(rows_filled, k, n)[:window]
