"""Convolution of maps with few channels as a Triton kernel: sums of matrix products, one for each row of the window.

map, channels last      columns of a window's row lie side by side in memory, with their channels: together they
  ── y + 0 ──           are the inputs of one matrix product. Neighbouring positions (`pixels` of them) share a
  ── y + 1 ──  ─> sum   window that is wider by as much and give their outputs side by side, since matrices of
  ── y + 2 ──           16 columns alone leave a GPU's matrix units half idle.
"""

# mypy: disallow-untyped-defs=False
# Triton reads annotations as its own.

import triton
import triton.language as tl


@triton.jit
def convolve(
    image, weight, bias, out, images, height, width, out_height, out_width, channels,
    window: tl.constexpr, stride: tl.constexpr, pixels: tl.constexpr, step: tl.constexpr, row_inputs: tl.constexpr,
    k: tl.constexpr, n: tl.constexpr, relu: tl.constexpr, block: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """See `dla.kernels.rows.convolve`."""
    inputs, outputs = tl.arange(0, k), tl.arange(0, n)
    # Where windows reach out oddly, groups begin at column -1: then their windows begin at even columns, from where
    # more is loaded at once.
    before: tl.constexpr = window // 2 % pixels
    groups = (out_width + pixels - 1 + before) // pixels
    place = tl.program_id(0) * block + tl.arange(0, block)
    index, y, group = place // groups // out_height, place // groups % out_height, place % groups
    left = group * (pixels * stride) - (before * stride + window // 2)
    total = tl.zeros([block, n], tl.float32)
    for row in tl.range(window, num_stages=stages):
        values = window_rows(
            image, index[:, None], (y * stride + row - window // 2)[:, None], left, inputs, inputs < row_inputs,
            images, height, width, step,
        )  # fmt: skip
        weights = tl.load(weight + (row * k + inputs)[:, None] * n + outputs[None, :])
        total = tl.dot(values, weights, total, input_precision="ieee")
    if bias is not None:
        total += tl.load(bias + outputs)[None, :]
    if relu:
        total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    column = (group * pixels - before)[:, None] * channels + outputs[None, :]
    inside = (index < images)[:, None] & (column >= 0) & (column < out_width * channels)
    inside = inside & (outputs < pixels * channels)[None, :]
    target = out + (index.to(tl.int64) * out_height + y)[:, None] * out_width * channels + column
    tl.store(target, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def window_rows(image, index, y, left, inputs, used, images, height, width, step: tl.constexpr):
    """(positions, inputs): rows `y` of the windows whose columns begin at `left`, with zeros outside the map.

    `index`, of the images, and `y` are numbers or extend to (positions, inputs). Inputs not `used` are zeros too.
    """
    column = left[:, None] * step + inputs[None, :]
    # Compared as blocks, since Triton 3.9's interpreter takes no comparison of numbers for a mask; what a GPU runs is
    # the same.
    of, row = tl.broadcast_to(index, column.shape), tl.broadcast_to(y, column.shape)
    inside = (of < images) & (row >= 0) & (row < height) & used[None, :]
    inside = inside & (column >= 0) & (column < width * step)
    source = image + (index.to(tl.int64) * height + y) * width * step + column
    return tl.load(source, mask=inside, other=0.0)
