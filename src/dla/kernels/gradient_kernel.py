"""Gradient of the weight of `rows_kernel.convolve`, of stride 1: one matrix product for all rows of the window.

    windows of a block's groups, (groups, all inputs)  ─┐
    gradient of their outputs, (groups, outputs)       ─┴─> windows' transpose @ gradient, summed over the blocks

Every program goes over blocks of its own and writes one partial sum: whoever adds them up in a fixed order gets the
same gradient every time.
"""

# mypy: disallow-untyped-defs=False
# Triton reads annotations as its own.

import triton
import triton.language as tl

from dla.kernels.rows_kernel import window_rows


@triton.jit
def weight_gradient(
    image, gradient, partial, images, height, width,
    channels: tl.constexpr, window: tl.constexpr, pixels: tl.constexpr, step: tl.constexpr, row_inputs: tl.constexpr,
    rows: tl.constexpr, k: tl.constexpr, n: tl.constexpr, block: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """See `dla.kernels.rows.weight_gradient`."""
    inputs, outputs = tl.arange(0, rows * k), tl.arange(0, n)
    row, inputs_of_row = inputs // k, inputs % k
    used = (row < window) & (inputs_of_row < row_inputs)
    before: tl.constexpr = window // 2 % pixels  # as in `rows_kernel.convolve`
    across = tl.cdiv((width + pixels - 1 + before) // pixels, block)
    total = tl.zeros([rows * k, n], tl.float32)
    for part in tl.range(tl.program_id(0), images * height * across, tl.num_programs(0), num_stages=stages):
        # A block lies in one row of an image: dividing for every group would take longer than the loads.
        index, y = part // across // height, part // across % height
        x = (part % across * block + tl.arange(0, block)) * pixels
        windows = window_rows(
            image, index, (y + row - window // 2)[None, :], x - (before + window // 2), inputs_of_row, used, images,
            height, width, step,
        )  # fmt: skip
        values = window_rows(
            gradient, index, y, x - before, outputs, outputs < pixels * channels, images, height, width, channels
        )
        total = tl.dot(tl.trans(windows), values, total, input_precision="ieee")
    target = partial + (tl.program_id(0) * rows * k + inputs)[:, None] * n + outputs[None, :]
    tl.store(target, total)
