"""Nodes without concatenation, and pooling without places of maxima, as Triton kernels over channels-last maps."""

# mypy: disallow-untyped-defs=False
# Triton reads annotations as its own.

import triton
import triton.language as tl


@triton.jit
def combine(
    maps, weight, bias, out, positions, channels: tl.constexpr, n: tl.constexpr,
    block: tl.constexpr, block_k: tl.constexpr, block_n: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """See `dla.kernels.maps.combine`."""
    parts: tl.constexpr = (n + block_n - 1) // block_n
    place = (tl.program_id(0) // parts).to(tl.int64) * block + tl.arange(0, block)
    outputs = tl.program_id(0) % parts * block_n + tl.arange(0, block_n)
    total = tl.zeros([block, block_n], tl.float32)
    for i in tl.static_range(len(channels)):
        for start in tl.range(0, channels[i], block_k, num_stages=stages):
            inputs = start + tl.arange(0, block_k)
            inside = (place < positions)[:, None] & (inputs < channels[i])[None, :]
            values = tl.load(maps[i] + place[:, None] * channels[i] + inputs[None, :], mask=inside, other=0.0)
            source = weight + inputs[:, None] * n + outputs[None, :]
            weights = tl.load(source, mask=(inputs < channels[i])[:, None] & (outputs < n)[None, :], other=0.0)
            total = tl.dot(values, weights, total, input_precision="ieee")
        weight += channels[i] * n
    total += tl.load(bias + outputs, mask=outputs < n, other=0.0)[None, :]
    total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    inside = (place < positions)[:, None] & (outputs < n)[None, :]
    tl.store(out + place[:, None] * n + outputs[None, :], total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def pool(image, out, numbers, height, width, out_height, out_width, channels: tl.constexpr, block: tl.constexpr):
    """Maxima of 2x2 positions; at odd sizes of fewer, below and to the right."""
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    place, channel = index // channels, index % channels
    y, x = place // out_width % out_height * 2, place % out_width * 2
    source = image + ((place // out_width // out_height * height + y) * width + x) * channels + channel
    inside = index < numbers
    low: tl.constexpr = float("-inf")
    right, below = inside & (x + 1 < width), inside & (y + 1 < height)
    nan: tl.constexpr = tl.PropagateNan.ALL
    upper = tl.maximum(tl.load(source, inside, low), tl.load(source + channels, right, low), propagate_nan=nan)
    source += width * channels
    lower = tl.maximum(tl.load(source, below, low), tl.load(source + channels, below & right, low), propagate_nan=nan)
    tl.store(out + index, tl.maximum(upper, lower, propagate_nan=nan), mask=inside)
