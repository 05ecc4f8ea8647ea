"""The stem and first two stages of a DLA network as one Triton kernel: their finest maps never reach memory.

    image with a border     a program takes one tile of the result after another. Of the two maps between, it computes
      │ 7x7                 the part on which the tile depends, and keeps it in a slice of `scratch` that is its own,
    stem's tile + 2         small enough for the caches, and overwritten for the next tile
      │ 3x3
    stage 1's tile + 1
      │ 3x3, stride 2
    tile of stage 2's map

A convolution is a sum of matrix products, (positions, inputs) @ (inputs, outputs), one for each row of its window: the
columns of a row lie side by side in memory, so that together they are the inputs.
"""

# mypy: disallow-untyped-defs=False
# Triton reads annotations as its own.

import triton
import triton.language as tl


@triton.jit
def kernel(
    image,
    stem_weight,
    stem_bias,
    first_weight,
    first_bias,
    second_weight,
    second_bias,
    scratch,
    out,
    images,
    height,  # of the image without its border
    width,
    out_height,
    out_width,
    channels,
    window: tl.constexpr,  # side of the stem's
    pixel: tl.constexpr,  # channels of the image
    stride: tl.constexpr,
    stem_row: tl.constexpr,  # inputs of a row of the window, filled up to a power of 2
    stem: tl.constexpr,  # outputs
    first_row: tl.constexpr,
    first: tl.constexpr,
    second_row: tl.constexpr,
    second: tl.constexpr,
    tile_height: tl.constexpr,
    tile_width: tl.constexpr,
    block: tl.constexpr,
    stages: tl.constexpr,
):
    """See `dla.deploy.stem_launch.launch`."""
    # Sides of the part of stage 1's map; that of the stem's has a neighbour more on every side.
    rows: tl.constexpr = (tile_height - 1) * stride + 3
    columns: tl.constexpr = (tile_width - 1) * stride + 3
    pitch: tl.constexpr = (columns + 2) * stem
    stem_size: tl.constexpr = (rows + 2) * pitch
    stem_part = scratch + tl.program_id(0).to(tl.int64) * (stem_size + rows * columns * first)
    first_part = stem_part + stem_size
    image_pitch = (width + window - 1) * pixel
    down, across = tl.cdiv(out_height, tile_height), tl.cdiv(out_width, tile_width)
    for tile in range(tl.program_id(0), images * down * across, tl.num_programs(0)):
        index = (tile // (down * across)).to(tl.int64)
        y, x = tile // across % down * tile_height, tile % across * tile_width
        top, left = y * stride - 1, x * stride - 1
        source = image + index * (height + window - 1) * image_pitch
        _part(
            source, image_pitch, stem_weight, stem_bias, stem_part, top - 1, left - 1, height, width,
            rows + 2, columns + 2, window, pixel, stem_row, stem, block, stages,
        )  # fmt: skip
        tl.debug_barrier()  # the threads of the program read what others of them wrote
        source = stem_part - (top * pitch + left * stem)  # where the map would begin
        # Loads under way ahead would bypass the cache in which the part is.
        _part(
            source, pitch, first_weight, first_bias, first_part, top, left, height, width,
            rows, columns, 3, stem, first_row, first, block, 1,
        )  # fmt: skip
        tl.debug_barrier()
        target = out + index * out_height * out_width * channels
        _tile(
            first_part, columns * first, second_weight, second_bias, target, y, x, out_height, out_width, channels,
            tile_height, tile_width, stride, first, second_row, second, block,
        )  # fmt: skip


@triton.jit
def _part(
    source, pitch, weight, bias, target, top, left, height, width,
    rows: tl.constexpr, columns: tl.constexpr, window: tl.constexpr, step: tl.constexpr,
    k: tl.constexpr, n: tl.constexpr, block: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    # Convolve (height, width, step) to the part of the result, `rows` x `columns` from (top, left) on, that goes to
    # `target`; zeros outside the map, where the next convolution pads.
    for start in range(0, rows * columns, block):
        place = tl.minimum(start + tl.arange(0, block), rows * columns - 1)  # beyond the end, the last again and again
        y, x = top + place // columns, left + place % columns
        near_y, near_x = tl.minimum(tl.maximum(y, 0), height - 1), tl.minimum(tl.maximum(x, 0), width - 1)
        values = _convolve(source, near_y * pitch + near_x * step, pitch, weight, bias, window, step, k, n, stages)
        inside = (y == near_y) & (x == near_x)
        values = tl.where(inside[:, None], values, 0.0).to(target.dtype.element_ty)
        tl.store(target + place[:, None] * n + tl.arange(0, n)[None, :], values)


@triton.jit
def _tile(
    source, pitch, weight, bias, target, top, left, height, width, channels,
    rows: tl.constexpr, columns: tl.constexpr, stride: tl.constexpr, step: tl.constexpr,
    k: tl.constexpr, n: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    # Convolve a part of stage 1's map to the tile of the result, (height, width, channels), at (top, left).
    outputs = tl.arange(0, n)
    for start in range(0, rows * columns, block):
        place = tl.minimum(start + tl.arange(0, block), rows * columns - 1)
        row, column = place // columns, place % columns
        starts = (row * pitch + column * step) * stride
        values = _convolve(source, starts, pitch, weight, bias, 3, step, k, n, 1).to(target.dtype.element_ty)
        y, x = top + row, left + column
        inside = ((y < height) & (x < width))[:, None] & (outputs < channels)[None, :]
        tl.store(target + (y * width + x)[:, None] * channels + outputs[None, :], values, mask=inside)


@triton.jit
def _convolve(
    source, starts, pitch, weight, bias,
    window: tl.constexpr, step: tl.constexpr, k: tl.constexpr, n: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    # relu(bias + convolution), (positions, n), of the windows that begin at `starts`, with rows `pitch` apart.
    inputs, outputs = tl.arange(0, k), tl.arange(0, n)
    used = (inputs < window * step)[None, :]
    total = tl.zeros([starts.shape[0], n], tl.float32)
    for row in tl.range(window, num_stages=stages):
        values = tl.load(source + starts[:, None] + (row * pitch + inputs)[None, :], mask=used, other=0.0)
        weights = tl.load(weight + (row * k + inputs)[:, None] * n + outputs[None, :])
        total = tl.dot(values, weights, total, input_precision="ieee")
    return tl.maximum(total + tl.load(bias + outputs)[None, :], 0.0)
