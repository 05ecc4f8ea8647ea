"""How the work of the fused stem is cut into tiles and programs, and the call of its kernel."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from dla.deploy.stem_kernel import kernel

NEAR = 160 * 1024  # bytes of each multiprocessor's own cache that the slices of its programs may take
RESIDENT = 4  # programs for whose values the registers of a multiprocessor suffice


class Tiling(NamedTuple):
    """How the work is cut: `height` x `width` positions of the result, computed `block` positions at a time.

    All three are powers of 2. `warps` and `stages`, loads of the image under way at a time, are Triton's.
    """

    height: int
    width: int
    block: int = 128
    warps: int = 4
    stages: int = 3

    @property
    def constants(self) -> dict[str, int]:
        """Of the kernel."""
        return {"tile_height": self.height, "tile_width": self.width, "block": self.block, "stages": self.stages}

    def slice(self, stride: int, stem: int, first: int) -> int:
        """Values that a program keeps: its parts of the stem's map and of stage 1's, which have so many channels."""
        height, width = ((side - 1) * stride + 3 for side in (self.height, self.width))
        return (height + 2) * (width + 2) * stem + height * width * first


# Small tiles leave work for every multiprocessor where images are few; large ones compute less twice.
TILINGS = (
    Tiling(4, 8, block=64),
    Tiling(8, 8, block=64),
    Tiling(8, 8),
    Tiling(8, 16, block=64),
    Tiling(8, 16),
    Tiling(8, 16, warps=8),
    Tiling(16, 16, warps=8),
)
_tuned = triton.autotune(
    [triton.Config(tiling.constants, num_warps=tiling.warps) for tiling in TILINGS],
    key=["images", "height", "width", "channels"],
)(kernel)


def launch(
    image: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    out: Tensor,
    *,
    stride: int,
    tiling: Tiling | None = None,
    processors: int | None = None,
) -> None:
    """Write stage 2's map to `out`, which has channels last in memory.

    Args:
        image: (b, pixel, h + window - 1, w + window - 1), with zeros around it; `pixel` is a power of 2.
        weights: of the stem (window, r, n), of stage 1 (3, s, m), of stage 2 (3, t, k), in each: rows of the window;
            its columns with their inputs, then zeros up to a power of 2; outputs. n, m and k are powers of 2, of at
            least 16.
        biases: (n), (m) and (k).
        out: (b, channels, ceil(h / stride), ceil(w / stride)), with at most k channels.
        stride: of stage 2.
        tiling: None to measure `TILINGS` at the first call for a size of images, and to take the fastest.
        processors: number of multiprocessors; None for the device's.
    """
    images, channels, *out_sides = out.shape
    window, (stem, first, second) = len(weights[0]), (len(bias) for bias in biases)
    count = processors or torch.cuda.get_device_properties(out.device).multi_processor_count
    slices = {t[:2]: t.slice(stride, stem, first) for t in ([tiling] if tiling else TILINGS)}
    programs = {t: count * max(1, min(RESIDENT, NEAR // (size * out.element_size()))) for t, size in slices.items()}

    def grid(constants: dict[str, Any]) -> tuple[int]:
        tile = constants["tile_height"], constants["tile_width"]
        return (min(programs[tile], images * _tiles(out_sides, tile)),)

    with torch.cuda.device_of(out):  # the launch goes to the current device
        (kernel if tiling else _tuned)[grid](
            image.contiguous(memory_format=torch.channels_last),
            *(tensor for pair in zip(weights, biases, strict=True) for tensor in pair),
            out.new_empty(max(programs[tile] * size for tile, size in slices.items())),
            out,
            images,
            *(side - window + 1 for side in image.shape[2:]),
            *out_sides,
            channels,
            window=window,
            pixel=image.shape[1],
            stride=stride,
            stem_row=weights[0].shape[1],
            stem=stem,
            first_row=weights[1].shape[1],
            first=first,
            second_row=weights[2].shape[1],
            second=second,
            **({**tiling.constants, "num_warps": tiling.warps} if tiling else {}),
        )


def _tiles(sides: Sequence[int], tile: Sequence[int]) -> int:
    return triton.cdiv(sides[0], tile[0]) * triton.cdiv(sides[1], tile[1])
